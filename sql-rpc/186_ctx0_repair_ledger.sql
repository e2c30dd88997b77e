-- ctx0_repair_ledger(...): makes the ledger say what the database has. No SQL of a version runs.
--
-- Arguments
--   p_action    baseline          the empty ledger gets versions 1 to n, which the schema has already
--               mark_applied      the ledger gets a version that it lacks
--               mark_not_applied  the ledger loses its highest version
--               accept_checksum   the row of a version gets this name and checksum
--   p_steps     for baseline a list of all versions from 1, otherwise of one; the fields of
--               ctx0_private.schema_step without sql: version, name, description, checksum, down_sql,
--               down_checksum, attempt, breaking, min_app_version. Without name and checksum for mark_not_applied
--   p_expected  what the caller saw: {current_version, row: {migration_name, checksum} or null}, for baseline
--               {current_version, fingerprint}, which is from ctx0_recognise_schema
--   p_by        who asks
--   p_reason    why
--
-- Result: jsonb with "outcome" and "rpc_version", and
--   recorded          + version, attempt, current_version
--   already_recorded  the ledger is as the repair would leave it
--   cancelled         + cancelled_by; somebody asked to end it, and nothing was done
--   locked            + held_by: attempt | change | rehearsal; nothing was done or recorded
--   conflict          + reason: damaged | unsafe_table | attempt_reused | unexpected_version | unexpected_objects |
--                     different_migration | gap
--                     + message; nothing was done
--   A repeated response has "replayed": true. The first attempt identifies the request.
-- Errors: 42501 for anyone but the service role and the owner, 22023 for a wrong argument.
-- Who may call it: service_role.
create function public.ctx0_repair_ledger(
  p_action   text,
  p_steps    jsonb,
  p_expected jsonb,
  p_by       text,
  p_reason   text
)
returns ctx0_private.answer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
set statement_timeout = '25s'
set default_transaction_isolation = 'read committed'
as $$
declare
  v_steps ctx0_private.schema_step[];
begin
  perform ctx0_private.check_caller();
  v_steps := case when jsonb_typeof(p_steps) = 'array' then array(
    select row(s.version, s.name, s.description, null, lower(s.checksum), s.down_sql, s.down_checksum, null,
               s.attempt, s.breaking, s.min_app_version, null, s.down_outside)::ctx0_private.schema_step
      from jsonb_array_elements(p_steps) with ordinality e (step, number)
     cross join lateral jsonb_populate_record(null::ctx0_private.schema_step, e.step) s
     order by e.number) end;
  if coalesce(p_action, '') not in ('baseline', 'mark_applied', 'mark_not_applied', 'accept_checksum')
     or coalesce(cardinality(v_steps), 0) = 0 or p_action <> 'baseline' and cardinality(v_steps) > 1
     or coalesce(jsonb_typeof(p_expected), '') <> 'object' or btrim(coalesce(p_by, '')) = '' or btrim(coalesce(p_reason, '')) = ''
     or exists (
          select from unnest(v_steps) with ordinality s
           where s.version is null or s.version < 1 or s.attempt is null
              or p_action <> 'mark_not_applied' and (coalesce(s.name, '') = '' or s.checksum is null)
              or p_action = 'baseline' and s.version <> s.ordinality) then
    raise invalid_parameter_value using message =
      'a repair needs p_action, p_steps with version, name, checksum and attempt, p_expected, p_by and p_reason';
  end if;
  return ctx0_private.answer(p_fields => ctx0_private.repair_ledger(
    p_action => p_action, p_steps => v_steps, p_expected => p_expected, p_by => p_by, p_reason => p_reason));
end
$$;

comment on function public.ctx0_repair_ledger(text, jsonb, jsonb, text, text) is
  'ctx0: makes the ledger say what the database has';
