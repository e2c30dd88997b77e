-- ctx0_apply_migrations(...): applies several versions in one transaction, a savepoint each: a version
-- that fails leaves those before it applied.
--
-- Arguments
--   p_steps       the versions in order, a list of objects with the fields of
--                 ctx0_private.schema_step: version, name, description, sql, checksum, down_sql,
--                 down_checksum, expected_version, attempt, breaking, min_app_version, outside, down_outside; each as in
--                 ctx0_apply_migration. A version with outside is refused
--   p_applied_by  who asks
--   p_backup_by   who confirmed a backup, or null; recorded
--   p_continues   whether the caller goes on to another version after these
--   p_budget_ms   no version after the first is begun later than this
--
-- Result: jsonb with "rpc_version" and
--   results  for each version that was decided, in order, what ctx0_apply_migration returns for it
-- The first version has a result in any case. A later one has a result only if the database has it, or
-- if it was cancelled: where a later one fails, or the budget or the room for locks is used, the list ends before it, and
-- the caller requests it again as the first of another request. Nothing of it is recorded. A copy of
-- a request that has run begins no version; its list has what is recorded.
-- Errors, callers and limits: as ctx0_apply_migration.
create function public.ctx0_apply_migrations(
  p_steps      jsonb,
  p_applied_by text default 'bot0-daemon',
  p_backup_by  text default null,
  p_continues  boolean default false,
  p_budget_ms  integer default 20000
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
  v_steps  ctx0_private.schema_step[];
  v_damage jsonb;
begin
  perform ctx0_private.check_caller();
  if coalesce(jsonb_typeof(p_steps), '') <> 'array' or p_steps = '[]' then
    raise invalid_parameter_value using message = 'ctx0_apply_migrations needs p_steps, a list of versions';
  end if;
  v_steps := array(
    select row(s.version, s.name, s.description, s.sql, lower(s.checksum), s.down_sql, s.down_checksum,
               s.expected_version, s.attempt, s.breaking, s.min_app_version,
               s.outside, s.down_outside)::ctx0_private.schema_step
      from jsonb_array_elements(p_steps) with ordinality e (step, number)
     cross join lateral jsonb_populate_record(null::ctx0_private.schema_step, e.step) s
     order by e.number);
  perform ctx0_private.check_steps(p_steps => v_steps);
  if exists (select from unnest(v_steps) s where s.outside is not null) then
    raise invalid_parameter_value using message = 'a version that runs outside a transaction needs ctx0_apply_migration';
  end if;
  v_damage := ctx0_private.first_damaged(p_steps => v_steps);
  return ctx0_private.answer(p_fields => jsonb_build_object('results', case
    when v_damage is not null then jsonb_build_array(v_damage)
    else to_jsonb(ctx0_private.change_schema(
      p_action => 'apply', p_steps => v_steps, p_applied_by => p_applied_by, p_backup_by => p_backup_by,
      p_continues => p_continues, p_budget => p_budget_ms * interval '1 ms')) end));
end
$$;

comment on function public.ctx0_apply_migrations(jsonb, text, text, boolean, integer) is
  'ctx0: applies several schema versions in one transaction, each exactly once for its attempt';
