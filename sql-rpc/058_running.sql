-- show_attempt(p_attempt): lets other sessions see which attempt this transaction works on.
--
-- Nothing that a transaction writes can be read before it commits, but its locks can. Each of four
-- advisory locks has 32 bits of the id as its second key. They end with the transaction.
create function ctx0_private.show_attempt(p_attempt uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  for v_part in 0 .. 3 loop
    perform pg_try_advisory_xact_lock(
      ctx0_private.lock_key() + 16 + v_part,
      ('x' || substr(replace(p_attempt::text, '-', ''), v_part * 8 + 1, 8))::bit(32)::integer);
  end loop;
end
$$;

comment on function ctx0_private.show_attempt(uuid) is
  'ctx0: lets other sessions see which attempt this transaction works on';

-- holder(): the session that has the lock of the schema, as (pid, kind, attempt); no row where it is
-- free. kind is change or rehearsal. attempt is null for a rehearsal and an installation.
create function ctx0_private.holder()
returns table (pid integer, kind text, attempt uuid)
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  with locks as materialized (
    select l.pid, l.classid::bigint - ctx0_private.lock_key() as place, l.objid::bigint as key
      from pg_locks l
     where l.locktype = 'advisory' and l.granted and l.objsubid = 2
       and l.database = (select oid from pg_database where datname = current_database())
       and l.classid::bigint between ctx0_private.lock_key() and ctx0_private.lock_key() + 19
  )
  select l.pid,
         -- A rehearsal holds the lock of a change, and a second one that marks it as a rehearsal.
         case when exists (select from locks r where r.pid = l.pid and r.place = 0 and r.key = 2) then 'rehearsal' else 'change' end,
         (select case when count(*) = 4 then string_agg(lpad(to_hex(a.key), 8, '0'), '' order by a.place)::uuid end
            from locks a
           where a.pid = l.pid and a.place between 16 and 19)
    from locks l
   where l.place = 0 and l.key = 1;
$$;

comment on function ctx0_private.holder() is
  'ctx0: the session that has the lock of the schema';

-- show_position(...): lets other sessions see which statement this one is about to run, in its
-- application_name: "ctx0 apply v3 2/7 1764140000 1764140042" is statement 2 of 7 of version 3,
-- with the times at which the version and the statement began.
--
-- Arguments
--   p_names  the names that may be replaced: the one before the migration, and the last position. A
--            name that the migration has set is its own, and stays
--   p_statement  from 1; 0: what follows the last one
--
-- Result: the position as it is in application_name. Everybody who can log in can read it there.
create function ctx0_private.show_position(
  p_names      text[],
  p_action     text,
  p_version    integer,
  p_statement  integer,
  p_statements integer,
  p_started    timestamptz
)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_position constant text := format(
    'ctx0 %s v%s %s/%s %s %s', p_action, p_version, p_statement, p_statements,
    extract(epoch from p_started)::bigint, extract(epoch from clock_timestamp())::bigint);
begin
  if current_setting('application_name') = any (p_names) then
    perform set_config('application_name', v_position, true);
  end if;
  return v_position;
end
$$;

comment on function ctx0_private.show_position(text[], text, integer, integer, integer, timestamptz) is
  'ctx0: lets other sessions see which statement this one is about to run';

-- show_undone(): lets other sessions see that this one has undone its version and only records that.
-- Cancelling it now would undo the record as well: is_undone().
create function ctx0_private.show_undone()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform set_config('application_name', 'ctx0 undone', true);
end
$$;

comment on function ctx0_private.show_undone() is
  'ctx0: lets other sessions see that this one has undone its version';

-- removal(p_index): the SQL by which a client removes an index that a statement outside a transaction has left.
create function ctx0_private.removal(p_index text)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select 'drop index concurrently if exists ' || p_index;
$$;

comment on function ctx0_private.removal(text) is
  'ctx0: the SQL that removes an index that a statement outside a transaction has left';

-- is_undone(p_pid): whether a session has undone its version, or removes what is left of one that ran outside a
-- transaction.
create function ctx0_private.is_undone(p_pid integer)
returns boolean
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from pg_stat_activity a
     where a.pid = p_pid
       and (a.application_name = 'ctx0 undone'
            or a.query ~ ('^' || ctx0_private.removal(p_index => '') || '\S+(\.ctx0_create_|_cc(new|old)\d*"?( |$))')));
$$;

comment on function ctx0_private.is_undone(integer) is
  'ctx0: whether a session has undone its version';

-- progress_of(p_pid): where the statement of a session is, {phase, percent}, where PostgreSQL counts what it does
-- and the owner of this function may see it; else {}.
create function ctx0_private.progress_of(p_pid integer)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((
    select jsonb_strip_nulls(jsonb_build_object(
             'phase', c.phase,
             'percent', case when c.total > 0 then least(100, floor(100.0 * c.done / c.total)) end))
      from (
        select i.phase,
               case when i.phase ^@ 'waiting' then i.lockers_done when i.phase ~ 'tuples' then i.tuples_done else i.blocks_done end,
               case when i.phase ^@ 'waiting' then i.lockers_total when i.phase ~ 'tuples' then i.tuples_total else i.blocks_total end
          from pg_stat_progress_create_index i
         where i.pid = p_pid
        union all
        select t.phase, t.heap_blks_scanned, t.heap_blks_total from pg_stat_progress_cluster t where t.pid = p_pid
        union all
        select v.phase, case v.phase when 'vacuuming heap' then v.heap_blks_vacuumed else v.heap_blks_scanned end, v.heap_blks_total
          from pg_stat_progress_vacuum v
         where v.pid = p_pid
        union all
        select y.phase, y.sample_blks_scanned, y.sample_blks_total from pg_stat_progress_analyze y where y.pid = p_pid
        union all
        select 'copying', o.bytes_processed, o.bytes_total from pg_stat_progress_copy o where o.pid = p_pid
      ) c (phase, done, total)
     limit 1), '{}');
$$;

comment on function ctx0_private.progress_of(integer) is
  'ctx0: where the statement of a session is';

-- milliseconds_since(p_since): how long ago that is, by the clock and not by the transaction.
create function ctx0_private.milliseconds_since(p_since timestamptz)
returns bigint
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select greatest(0, ceil(extract(epoch from clock_timestamp() - p_since) * 1000))::bigint;
$$;

comment on function ctx0_private.milliseconds_since(timestamptz) is
  'ctx0: how long ago that is';

-- position_of(p_pid): where the migration of a session is, or null where that cannot be seen:
--   {action, version, statement, statements, version_ms, statement_ms, phase, percent}
-- phase and percent as progress_of().
create function ctx0_private.position_of(p_pid integer)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
           'action', p.part[1],
           'version', p.part[2]::integer,
           'statement', p.part[3]::integer,
           'statements', p.part[4]::integer,
           'version_ms', ctx0_private.milliseconds_since(p_since => to_timestamp(p.part[5]::bigint)),
           'statement_ms', ctx0_private.milliseconds_since(p_since => to_timestamp(p.part[6]::bigint)))
         || ctx0_private.progress_of(p_pid => p_pid)
    from pg_stat_activity a
   cross join lateral regexp_match(
           a.application_name, '^ctx0 (apply|rollback) v(\d{1,9}) (\d{1,7})/(\d{1,7}) (\d{1,10}) (\d{1,10})$') p (part)
   where a.pid = p_pid and p.part is not null
   limit 1;
$$;

comment on function ctx0_private.position_of(integer) is
  'ctx0: where the migration of a session is';

-- running(p_attempt): what is changing or rehearsing the schema, or null:
--   held_by   attempt (p_attempt itself) | change | rehearsal
--   position  as position_of(), where it can be seen
-- It has the lock of the schema, or is a version outside a transaction, which holds none.
create function ctx0_private.running(p_attempt uuid default null)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((
    select jsonb_build_object(
             'held_by', case when r.attempt = p_attempt then 'attempt' else 'change' end,
             'position', jsonb_build_object(
               'action', r.action, 'version', r.version, 'statement', 1, 'statements', 1,
               'version_ms', ctx0_private.milliseconds_since(p_since => r.started_at),
               'statement_ms', ctx0_private.milliseconds_since(p_since => r.run_at))
               || case when b.pid is null and r.job is not null then '{"phase": "waiting for pg_cron"}'
                       else ctx0_private.progress_of(p_pid => b.pid) end)
      from ctx0_private.outside_run() r
     cross join lateral ctx0_private.outside_backend(p_run => r) b (pid)), (
    select jsonb_strip_nulls(jsonb_build_object(
             'held_by', case when h.attempt = p_attempt then 'attempt' else h.kind end,
             'position', ctx0_private.position_of(p_pid => h.pid)))
      from ctx0_private.holder() h));
$$;

comment on function ctx0_private.running(uuid) is
  'ctx0: what is changing or rehearsing the schema';

-- locked(p_attempt): the response to a request that finds the lock of the schema taken.
create function ctx0_private.locked(p_attempt uuid default null)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  -- It may have become free meanwhile.
  select '{"outcome": "locked", "held_by": "change"}' || coalesce(ctx0_private.running(p_attempt => p_attempt), '{}');
$$;

comment on function ctx0_private.locked(uuid) is
  'ctx0: the response to a request that finds the lock of the schema taken';
