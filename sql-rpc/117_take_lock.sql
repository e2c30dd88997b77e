-- take_lock(p_attempt): takes the lock of a change for this attempt until the end of the transaction.
-- Returns null, or what has the lock: attempt (an earlier copy of this request), change or rehearsal.
create function ctx0_private.take_lock(p_attempt uuid)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise invalid_transaction_state using
      message = 'the ctx0 schema must be changed in a transaction that is read committed',
      hint = 'Remove default_transaction_isolation from the role that PostgREST connects as.';
  end if;
  if not pg_try_advisory_xact_lock(ctx0_private.lock_key(), 1) then
    return case when ctx0_private.lock_holder(p_key => ctx0_private.attempt_lock(p_attempt => p_attempt)) is not null
                then 'attempt' else coalesce(ctx0_private.running(), 'change') end;
  end if;
  -- Later copies of this request see that it is this one that runs.
  perform pg_try_advisory_xact_lock(ctx0_private.attempt_lock(p_attempt => p_attempt));
  return null;
end
$$;

comment on function ctx0_private.take_lock(uuid) is
  'ctx0: takes the lock of a change';
