-- preview_lock(p_preview), cancel_lock(p_preview): the advisory locks that identify a running
-- preview, and that ask it to end where its backend may not be signalled.
create function ctx0_private.preview_lock(p_preview uuid)
returns bigint
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select hashtextextended('ctx0 preview ' || p_preview, 0);
$$;

comment on function ctx0_private.preview_lock(uuid) is
  'ctx0: the advisory lock of a running preview';

create function ctx0_private.cancel_lock(p_preview uuid)
returns bigint
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select hashtextextended('ctx0 cancel ' || p_preview, 0);
$$;

comment on function ctx0_private.cancel_lock(uuid) is
  'ctx0: the advisory lock that asks a preview to end';

-- lock_holder(p_key): the process that holds this advisory lock, or null.
create function ctx0_private.lock_holder(p_key bigint)
returns integer
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select l.pid
    from pg_locks l
   where l.locktype = 'advisory' and l.granted and l.objsubid = 1
     and l.database = (select oid from pg_database where datname = current_database())
     and (l.classid::bigint << 32) | l.objid::bigint = p_key
   limit 1;
$$;

comment on function ctx0_private.lock_holder(bigint) is
  'ctx0: the process that holds an advisory lock';

-- must_stop(p_preview, p_stop_at): whether a rehearsal must not begin another statement, because
-- its budget is used or it was cancelled.
--
-- Whoever cancels holds cancel_lock() together with others who do; only if nobody does can it be had
-- alone for a moment. That costs the same however many locks there are, which reading pg_locks does not.
create function ctx0_private.must_stop(p_preview uuid, p_stop_at timestamptz)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key constant bigint := ctx0_private.cancel_lock(p_preview => p_preview);
begin
  if clock_timestamp() >= p_stop_at then
    return true;
  elsif p_preview is null then
    return false;
  end if;
  return not (pg_try_advisory_lock(v_key) and pg_advisory_unlock(v_key));
end
$$;

comment on function ctx0_private.must_stop(uuid, timestamptz) is
  'ctx0: whether a rehearsal must not begin another statement';
