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
--
-- Result: jsonb with "outcome", "version", "attempt", "current_version" and "rpc_version", and
--   applied          + execution_ms, statements
--   already_applied  the ledger has this version, from the same text
--   locked           + held_by: attempt (an earlier copy of this request) | change | rehearsal
--                    nothing was done or recorded
--   conflict         + reason: damaged | unsafe_table | attempt_reused | different_migration | unexpected_version | gap
--                    + message; nothing was done
--   failed           as run_migration; nothing of the migration is left
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
  p_backup_by        text default null
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
begin
  perform ctx0_private.check_caller();

  if p_version is null or p_version < 1 or coalesce(p_name, '') = ''
     or p_checksum is null or p_attempt is null
     or coalesce(cardinality(p_sql), 0) = 0 or array_position(p_sql, null) is not null
     or array_position(p_down_sql, null) is not null then
    raise invalid_parameter_value using
      message = 'ctx0_apply_migration needs p_version (from 1), p_name, p_sql, p_checksum and p_attempt';
  end if;

  -- A body that was damaged on the way says nothing about this attempt. It is refused
  -- and not recorded, so that an intact copy can still arrive.
  if not ctx0_private.is_intact(p_sql => p_sql, p_checksum => p_checksum) or not ctx0_private.is_intact(p_sql => p_down_sql, p_checksum => p_down_checksum) then
    return ctx0_private.answer(p_fields => jsonb_build_object(
      'outcome', 'conflict', 'reason', 'damaged', 'version', p_version, 'attempt', p_attempt,
      'message', 'the SQL that arrived is not the SQL of its checksum'));
  end if;

  return ctx0_private.answer(p_fields => ctx0_private.change_schema(
    p_action => 'apply', p_version => p_version, p_name => p_name, p_description => p_description,
    p_sql => p_sql, p_checksum => lower(p_checksum), p_down_sql => p_down_sql, p_applied_by => p_applied_by,
    p_expected_version => p_expected_version, p_attempt => p_attempt, p_backup_by => p_backup_by));
end
$$;

comment on function public.ctx0_apply_migration(integer, text, text, text[], text, text[], text, text, integer, uuid, text) is
  'ctx0: applies one schema version in one transaction, exactly once for each attempt';
