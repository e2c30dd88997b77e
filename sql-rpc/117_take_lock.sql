-- is_same_run(p_run, p_action, p_step): whether a step is the version that is running outside a transaction. Any
-- client may go on with that: the one that began it may be gone.
create function ctx0_private.is_same_run(
  p_run    ctx0_private.ctx0_schema_outside,
  p_action text,
  p_step   ctx0_private.schema_step
)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select p_run.attempt = p_step.attempt
      or p_run.action = p_action and p_run.version = p_step.version
         and (p_action = 'rollback' or p_run.checksum is not distinct from p_step.checksum);
$$;

comment on function ctx0_private.is_same_run(ctx0_private.ctx0_schema_outside, text, ctx0_private.schema_step) is
  'ctx0: whether a step is the version that is running outside a transaction';

-- take_lock(p_action, p_step): takes the lock of a change for this step until the end of the transaction.
-- Returns null, or where it is taken the response, as locked(). While a version is running outside a transaction,
-- it is taken for every other one.
create function ctx0_private.take_lock(p_action text, p_step ctx0_private.schema_step)
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
  if not pg_try_advisory_xact_lock(ctx0_private.lock_key(), 1)
     or exists (select from ctx0_private.outside_run() r where not ctx0_private.is_same_run(p_run => r, p_action => p_action, p_step => p_step)) then
    return ctx0_private.locked(p_attempt => p_step.attempt);
  end if;
  -- Later copies of this request see that it is this one that runs.
  perform ctx0_private.show_attempt(p_attempt => p_step.attempt);
  return null;
end
$$;

comment on function ctx0_private.take_lock(text, ctx0_private.schema_step) is
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
  elsif not pg_try_advisory_xact_lock(ctx0_private.lock_key(), 1) or exists (select from ctx0_private.outside_run()) then
    return 'change';
  end if;
  return null;
end
$$;

comment on function ctx0_private.take_rehearsal_lock() is
  'ctx0: takes the lock of a rehearsal and that of a change';
