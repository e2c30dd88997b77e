-- change_schema(...): decides on one request to change the schema, runs it and records it.
-- ctx0_apply_migration and ctx0_rollback_migration share it.
--
-- Arguments: as those two, with
--   p_action    apply or rollback
--   p_sql       of an apply the text; of a rollback the down text for a version that was recorded
--               without one
--   p_checksum  of p_sql
--   p_down_sql  of an apply the text that rolls it back, or null
--
-- Result: as those two.
create function ctx0_private.change_schema(
  p_action           text,
  p_version          integer,
  p_name             text,
  p_description      text,
  p_sql              text[],
  p_checksum         text,
  p_down_sql         text[],
  p_applied_by       text,
  p_expected_version integer,
  p_attempt          uuid,
  p_backup_by        text
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started constant timestamptz := clock_timestamp();
  v_session constant jsonb := ctx0_private.remember_session();
  v_problem text;
  v_current integer;
  v_ledger  public.ctx0_schema_versions;
  v_known   boolean;
  v_earlier ctx0_private.ctx0_schema_attempts;
  v_sql     text[] := p_sql;
  v_objects jsonb;
  v_answer  jsonb;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise invalid_transaction_state using
      message = 'the ctx0 schema must be changed in a transaction that is read committed',
      hint = 'Remove default_transaction_isolation from the role that PostgREST connects as.';
  end if;

  if not pg_try_advisory_xact_lock(ctx0_private.lock_key(), 1) then
    return jsonb_build_object(
      'outcome', 'locked', 'version', p_version, 'attempt', p_attempt,
      'held_by', case when ctx0_private.lock_holder(p_key => ctx0_private.attempt_lock(p_attempt => p_attempt)) is not null
                      then 'attempt' else coalesce(ctx0_private.running(), 'change') end);
  end if;
  -- Later copies of this request see that it is this one that runs.
  perform pg_try_advisory_xact_lock(ctx0_private.attempt_lock(p_attempt => p_attempt));

  v_problem := ctx0_private.table_problem(p_owner => current_user);
  if v_problem is not null then
    return jsonb_build_object(
      'outcome', 'conflict', 'reason', 'unsafe_table', 'version', p_version, 'attempt', p_attempt,
      'message', v_problem);
  end if;

  select * into v_earlier from ctx0_private.ctx0_schema_attempts where attempt = p_attempt;
  if found then
    if v_earlier.action = p_action and v_earlier.version = p_version
       and (p_action = 'rollback' or v_earlier.checksum = p_checksum) then
      return v_earlier.result || jsonb_build_object('replayed', true);
    end if;
    return jsonb_build_object(
      'outcome', 'conflict', 'reason', 'attempt_reused', 'version', p_version, 'attempt', p_attempt,
      'message', 'this attempt was used for something else before');
  end if;

  v_current := ctx0_private.current_version();
  select * into v_ledger from public.ctx0_schema_versions where version = p_version;
  v_known := found;

  if p_action = 'rollback' then
    -- The down statements are those stored when the version was applied.
    select coalesce(a.down_sql, case when v_ledger.attempt is null then p_sql end) into v_sql
      from (select) one
      left join ctx0_private.ctx0_schema_attempts a on a.attempt = v_ledger.attempt;
  end if;

  if p_action = 'apply' and v_known and v_ledger.migration_name = p_name
     and coalesce(v_ledger.checksum, p_checksum) = p_checksum then
    v_answer := jsonb_build_object('outcome', 'already_applied');
  elsif p_action = 'apply' and v_known then
    v_answer := jsonb_build_object(
      'outcome', 'conflict', 'reason', 'different_migration',
      'message', format('version %s is in the ledger as %s, from another text', p_version, v_ledger.migration_name));
  elsif p_action = 'rollback' and not v_known and v_current < p_version then
    v_answer := jsonb_build_object('outcome', 'already_rolled_back');
  elsif v_current <> p_expected_version then
    v_answer := jsonb_build_object(
      'outcome', 'conflict', 'reason', 'unexpected_version',
      'message', format('the database has version %s, the caller expected %s', v_current, p_expected_version));
  elsif p_action = 'apply' and p_version <> v_current + 1 then
    v_answer := jsonb_build_object(
      'outcome', 'conflict', 'reason', 'gap',
      'message', format('the database has version %s, so version %s cannot be next', v_current, p_version));
  elsif p_action = 'rollback' and p_version <> v_current then
    v_answer := jsonb_build_object(
      'outcome', 'conflict', 'reason', 'gap',
      'message', format('the database has version %s, so version %s cannot be rolled back first', v_current, p_version));
  elsif v_sql is null then
    v_answer := jsonb_build_object(
      'outcome', 'conflict', 'reason', 'not_reversible',
      'message', format('no down text is stored for version %s', p_version));
  else
    v_answer := ctx0_private.run_migration(
      p_action => p_action, p_version => p_version, p_name => p_name, p_description => p_description,
      p_sql => v_sql, p_checksum => p_checksum, p_applied_by => p_applied_by, p_attempt => p_attempt,
      p_lock_timeout => '5s');
    perform ctx0_private.clean_session(p_before => v_session);
    perform set_config('search_path', 'pg_catalog, pg_temp', true);
    if v_answer ->> 'outcome' <> 'failed' then
      -- Tells PostgREST about new tables and columns where no event trigger does.
      perform pg_notify('pgrst', 'reload schema');
      begin
        v_objects := ctx0_private.describe_schema();
      exception when others then
        -- A schema that cannot be described is no reason to undo its change. Drift cannot
        -- be detected then.
        null;
      end;
    end if;
  end if;

  v_answer := v_answer || jsonb_build_object(
    'version', p_version,
    'attempt', p_attempt,
    'current_version', ctx0_private.current_version());
  insert into ctx0_private.ctx0_schema_attempts
         (attempt, action, version, outcome, checksum, down_sql, sqlstate, message, applied_by,
          started_at, finished_at, result, backup_by, fingerprint, objects, server_version)
  values (p_attempt, p_action, p_version, v_answer ->> 'outcome', p_checksum, p_down_sql,
          v_answer ->> 'sqlstate', v_answer ->> 'message', p_applied_by,
          v_started, clock_timestamp(), v_answer, p_backup_by,
          encode(sha256(convert_to(v_objects::text, 'UTF8')), 'hex'), v_objects,
          current_setting('server_version_num')::integer);
  return v_answer;
end
$$;

comment on function ctx0_private.change_schema(text, integer, text, text, text[], text, text[], text, integer, uuid, text) is
  'ctx0: decides on one request to change the schema, runs it and records it';
