-- take_lock(p_attempt): takes the lock of a change for this attempt until the end of the transaction.
-- Returns null, or where it is taken the response, as locked().
create function ctx0_private.take_lock(p_attempt uuid)
returns jsonb
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
    return ctx0_private.locked(p_attempt => p_attempt);
  end if;
  -- Later copies of this request see that it is this one that runs.
  perform ctx0_private.show_attempt(p_attempt => p_attempt);
  return null;
end
$$;

comment on function ctx0_private.take_lock(uuid) is
  'ctx0: takes the lock of a change';

-- take_rehearsal_lock(): takes the lock of a rehearsal and that of a change until the end of the transaction.
-- Returns null, or what has one of them: rehearsal or change.
create function ctx0_private.take_rehearsal_lock()
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The lock of rehearsals first: a session that then finds the other one taken knows that a change has it.
  if not pg_try_advisory_xact_lock(ctx0_private.lock_key(), 2) then
    return 'rehearsal';
  elsif not pg_try_advisory_xact_lock(ctx0_private.lock_key(), 1) then
    return 'change';
  end if;
  return null;
end
$$;

comment on function ctx0_private.take_rehearsal_lock() is
  'ctx0: takes the lock of a rehearsal and that of a change';
