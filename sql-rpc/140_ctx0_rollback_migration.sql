-- ctx0_rollback_migration(...): rolls back the highest version, completely or not at all.
--
-- It runs the down statements that were stored when the version was applied, so an older build can
-- roll back what a newer one applied.
--
-- Arguments
--   p_version           the version, the ledger's highest
--   p_down_sql          the down statements for a version that was recorded by hand, and so
--                       without any; ignored otherwise
--   p_down_checksum     SHA-256 (hex) of that text
--   p_applied_by        who asks
--   p_expected_version  the ledger's highest version as the caller knows it; null: do not compare
--   p_attempt           identifies this request: every copy of it gets the response of the first
--   p_backup_by         who confirmed a backup, or null; recorded
--   p_continues         as ctx0_apply_migration
--   p_outside           of p_down_sql, as ctx0_apply_migration
--   p_response          as ctx0_apply_migration
--
-- Result: jsonb as ctx0_apply_migration, with the outcomes
--   rolled_back          + execution_ms, statements
--   already_rolled_back  the ledger does not have this version, nor a higher one
--   outside, locked, failed, cancelled
--   conflict             + reason: damaged | unsafe_table | attempt_reused | unexpected_version | gap | not_reversible
-- Errors and callers: as ctx0_apply_migration.
create function public.ctx0_rollback_migration(
  p_version          integer,
  p_down_sql         text[] default null,
  p_down_checksum    text default null,
  p_applied_by       text default 'bot0-daemon',
  p_expected_version integer default null,
  p_attempt          uuid default gen_random_uuid(),
  p_backup_by        text default null,
  p_continues        boolean default false,
  p_outside          jsonb default null,
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
    p_version, null, null, p_down_sql, lower(p_down_checksum), null, null, p_expected_version, p_attempt, null, null, p_outside, null
  )::ctx0_private.schema_step];
begin
  perform ctx0_private.check_caller();
  if p_version is null or p_version < 1 or p_attempt is null or array_position(p_down_sql, null) is not null then
    raise invalid_parameter_value using
      message = 'ctx0_rollback_migration needs p_version (from 1) and p_attempt';
  end if;
  return ctx0_private.answer(p_fields => coalesce(
    ctx0_private.first_damaged(p_steps => v_steps),
    (ctx0_private.change_schema(
       p_action => 'rollback', p_steps => v_steps, p_applied_by => p_applied_by, p_backup_by => p_backup_by,
       p_continues => p_continues, p_budget => null, p_response => p_response))[1]));
end
$$;

comment on function public.ctx0_rollback_migration(integer, text[], text, text, integer, uuid, text, boolean, jsonb, jsonb) is
  'ctx0: rolls back the highest schema version in one transaction, exactly once for each attempt';
