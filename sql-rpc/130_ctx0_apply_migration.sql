-- ctx0_apply_migration(...): applies one version, completely or not at all.
--
-- Arguments
--   p_version           the version, one more than the ledger's highest
--   p_name              its name, such as "003_tags"
--   p_description       what it does, in a sentence
--   p_sql               its statements in order; joined they are the whole text
--   p_checksum          SHA-256 (hex) of the whole text in UTF-8
--   p_down_sql          the statements that roll it back, or null; stored for a rollback
--   p_down_checksum     SHA-256 (hex) of that text
--   p_applied_by        who asks
--   p_expected_version  the ledger's highest version as the caller knows it; null: do not compare
--   p_attempt           identifies this request: every copy of it gets the response of the first
--   p_backup_by         who confirmed a backup, or null; recorded
--   p_continues         whether the caller goes on to another version after this one. Then the schema
--                       is described for ctx0_verify_schema after that one, and not after this
--   p_breaking          whether apps that do not know the version can no longer work with it; null: not
--                       known
--   p_min_app_version   the oldest app that can work with the version, or null
--   p_outside           where p_sql is one statement that runs outside a transaction, what it does; else null
--   p_down_outside      the same of p_down_sql
--   p_response          what came back for the statement of the outcome "outside"; see step_outside()
--
-- Result: jsonb with "outcome", "version", "attempt", "current_version" and "rpc_version", and
--   applied          + execution_ms, statements
--   already_applied  the ledger has this version, from the same text
--   outside          + sql: the caller runs this outside a transaction, and makes the same request again, with
--                    p_response; recorded as running, and no other change begins
--   locked           + held_by: attempt (an earlier copy of this request) | change | rehearsal,
--                    and position, as ctx0_running; nothing was done or recorded
--   conflict         + reason: damaged | unsafe_table | attempt_reused | different_migration | unexpected_version | gap
--                    + message; nothing was done
--   failed           as run_migration; nothing of the migration is left
--   cancelled        + cancelled_by; nothing of the migration is left: see ctx0_cancel_change
--   A repeated response has "replayed": true.
-- Errors: 42501 for anyone but the service role and the owner, 22023 for a missing argument.
-- Who may call it: service_role.
--
-- Failures are data, not errors: the row in ctx0_schema_attempts must survive them, and PostgREST
-- repeats a request that ends in 40001 or 40P01 by itself, without limit.
--
-- lock_timeout: while a statement waits for a table, every later query on that table queues behind
-- it, so it waits briefly. statement_timeout counts where the caller's role or PostgREST (12 or
-- newer, which reads it from here) sets it before the call. default_transaction_isolation is read
-- by PostgREST too: reading the ledger must see what was committed before the lock was acquired.
create function public.ctx0_apply_migration(
  p_version          integer,
  p_name             text,
  p_description      text,
  p_sql              text[],
  p_checksum         text,
  p_down_sql         text[] default null,
  p_down_checksum    text default null,
  p_applied_by       text default 'bot0-daemon',
  p_expected_version integer default null,
  p_attempt          uuid default gen_random_uuid(),
  p_backup_by        text default null,
  p_continues        boolean default false,
  p_breaking         boolean default null,
  p_min_app_version  text default null,
  p_outside          jsonb default null,
  p_down_outside     jsonb default null,
  p_response         jsonb default null
)
returns ctx0_private.answer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
set statement_timeout = '15min'
set default_transaction_isolation = 'read committed'
as $$
declare
  v_steps constant ctx0_private.schema_step[] := array[row(
    p_version, p_name, p_description, p_sql, lower(p_checksum), p_down_sql, p_down_checksum, p_expected_version, p_attempt,
    p_breaking, p_min_app_version, p_outside, p_down_outside
  )::ctx0_private.schema_step];
begin
  perform ctx0_private.check_caller();
  perform ctx0_private.check_steps(p_steps => v_steps);
  return ctx0_private.answer(p_fields => coalesce(
    ctx0_private.first_damaged(p_steps => v_steps),
    (ctx0_private.change_schema(
       p_action => 'apply', p_steps => v_steps, p_applied_by => p_applied_by, p_backup_by => p_backup_by,
       p_continues => p_continues, p_budget => null, p_response => p_response))[1]));
end
$$;

comment on function public.ctx0_apply_migration(integer, text, text, text[], text, text[], text, text, integer, uuid, text, boolean, boolean, text, jsonb, jsonb, jsonb) is
  'ctx0: applies one schema version in one transaction, exactly once for each attempt';
