-- change_schema(...): takes the steps of one request, each in a savepoint, and records them.
-- ctx0_apply_migration, ctx0_apply_migrations and ctx0_rollback_migration share it.
--
-- Arguments
--   p_action      apply or rollback
--   p_steps       at least one, in order
--   p_applied_by  who asks
--   p_backup_by   who confirmed a backup, or null
--   p_continues   whether the caller goes on to other versions after these
--   p_budget      no step after the first is begun later than this
--
-- Result: a response for each step that was taken, at least one, as ctx0_apply_migration. The first
-- step is decided whatever its outcome. A later one that fails is not: nothing of it is recorded, and
-- the caller requests it again, as the first. Some SQL fails only after other versions in the same
-- transaction, such as the use of a new enum value. But one that was cancelled or took too long is
-- not tried again. No further step is begun once the budget is used, or once the transaction has locked a
-- quarter of what the server has room for. A copy of a request that has run gets the responses
-- of then and begins no step.
create function ctx0_private.change_schema(
  p_action     text,
  p_steps      ctx0_private.schema_step[],
  p_applied_by text,
  p_backup_by  text,
  p_continues  boolean,
  p_budget     interval
)
returns jsonb[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_until   constant timestamptz := clock_timestamp() + p_budget;
  v_session constant jsonb := ctx0_private.remember_session();
  v_timeout constant text := current_setting('statement_timeout');
  v_first   constant uuid := p_steps[1].attempt;
  v_most    constant integer := current_setting('max_locks_per_transaction')::integer * current_setting('max_connections')::integer / 4;
  v_step    ctx0_private.schema_step;
  v_locked  jsonb;
  v_started timestamptz;
  v_problem text;
  v_answer  jsonb;
  v_is_new  boolean;
  v_ended   boolean;
  v_answers jsonb[] := '{}';
  v_changed boolean := false;
begin
  v_locked := ctx0_private.take_lock(p_attempt => v_first);
  if v_locked is not null then
    return array[v_locked || jsonb_build_object('version', p_steps[1].version, 'attempt', v_first)];
  end if;

  foreach v_step in array p_steps loop
    v_started := clock_timestamp();
    v_is_new := false;
    v_problem := ctx0_private.table_problem(p_owner => current_user);
    v_answer := case when v_problem is null then ctx0_private.recorded_response(p_action => p_action, p_step => v_step)
                     else jsonb_build_object('outcome', 'conflict', 'reason', 'unsafe_table', 'message', v_problem) end;
    if v_answer is null then
      exit when v_answers[1] ? 'replayed';
      v_is_new := true;
      if p_action = 'rollback' then
        v_step.sql := ctx0_private.stored_down_sql(p_version => v_step.version, p_given => v_step.sql);
      end if;
      v_answer := ctx0_private.decide_change(p_action => p_action, p_step => v_step);
    end if;
    if v_answer is null and ctx0_private.cancelled_by(p_attempt => v_first) is not null then
      v_answer := jsonb_build_object(
        'outcome', 'cancelled', 'cancelled_by', ctx0_private.cancelled_by(p_attempt => v_first), 'statement', 0);
    end if;
    if v_answer is null then
      v_answer := ctx0_private.run_migration(
        p_action => p_action, p_version => v_step.version, p_name => v_step.name, p_description => v_step.description,
        p_sql => v_step.sql, p_checksum => v_step.checksum, p_applied_by => p_applied_by, p_attempt => v_step.attempt,
        p_lock_timeout => '5s', p_request => v_first, p_breaking => v_step.breaking, p_min_app_version => v_step.min_app_version);
      perform ctx0_private.clean_session(p_before => v_session);
      perform set_config('search_path', 'pg_catalog, pg_temp', true);
      v_changed := v_changed or v_answer ->> 'outcome' not in ('failed', 'cancelled');
    end if;

    v_ended := v_answer ->> 'outcome' in ('failed', 'conflict', 'cancelled');
    exit when v_ended and v_answers <> '{}' and v_answer ->> 'outcome' <> 'cancelled'
              and v_answer ->> 'sqlstate' is distinct from '57014';
    v_answer := v_answer || jsonb_build_object('version', v_step.version, 'attempt', v_step.attempt);
    if v_is_new then
      v_answer := v_answer || jsonb_build_object('current_version', ctx0_private.current_version());
      insert into ctx0_private.ctx0_schema_attempts
             (attempt, action, version, outcome, checksum, down_sql, sqlstate, message, applied_by,
              started_at, finished_at, result, backup_by, request, cancelled_by, server_version)
      values (v_step.attempt, p_action, v_step.version, v_answer ->> 'outcome', v_step.checksum, v_step.down_sql,
              v_answer ->> 'sqlstate', v_answer ->> 'message', p_applied_by,
              v_started, clock_timestamp(), v_answer, p_backup_by, v_first, v_answer ->> 'cancelled_by',
              current_setting('server_version_num')::integer);
    end if;
    v_answers := v_answers || v_answer;
    exit when v_ended or cardinality(v_answers) = cardinality(p_steps) or clock_timestamp() >= v_until
              or (select count(*) from pg_locks where pid = pg_backend_pid()) > v_most;
    -- Each version finds the constraints and the timeout as at the start of a transaction.
    perform ctx0_private.defer_constraints();
    perform set_config('statement_timeout', v_timeout, true);
  end loop;

  if v_changed then
    -- Tells PostgREST about new tables and columns where no event trigger does.
    perform pg_notify('pgrst', 'reload schema');
  end if;
  if cardinality(v_answers) = cardinality(p_steps) and not p_continues
     or v_answers[cardinality(v_answers)] ->> 'outcome' in ('failed', 'conflict', 'cancelled') then
    -- The run ends here.
    perform ctx0_private.describe_change();
  end if;
  return v_answers;
end
$$;

comment on function ctx0_private.change_schema(text, ctx0_private.schema_step[], text, text, boolean, interval) is
  'ctx0: takes the steps of one request to change the schema, and records them';
