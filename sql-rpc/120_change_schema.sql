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
--   p_response    as step_outside(), for a step that runs outside a transaction, which is alone
--
-- Result: a response for each step that was taken, at least one, as ctx0_apply_migration. The first
-- step is decided whatever its outcome. A later one that fails is not: nothing of it is recorded, and
-- the caller requests it again, as the first. Some SQL fails only after other versions in the same
-- transaction, such as the use of a new enum value. But one that was cancelled or took too long is
-- not tried again. No further step is begun once the budget is used, or once the transaction has locked a
-- quarter of what the server has room for. A step that runs outside a transaction is decided once its statement
-- has ended: until then its responses are `outside` and `locked`, which are not recorded. A copy of a request that has run gets the responses
-- of then and begins no step.
create function ctx0_private.change_schema(
  p_action     text,
  p_steps      ctx0_private.schema_step[],
  p_applied_by text,
  p_backup_by  text,
  p_continues  boolean,
  p_budget     interval,
  p_response   jsonb default null
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
  v_run     ctx0_private.ctx0_schema_outside;
  v_installation text;
  v_others  bigint[];
  v_locked  jsonb;
  v_started timestamptz;
  v_counted timestamptz := clock_timestamp();
  v_problem text;
  v_answer  jsonb;
  v_is_new  boolean;
  v_ended   boolean;
  v_answers jsonb[] := '{}';
  v_changed boolean := false;
begin
  v_locked := ctx0_private.take_lock(p_action => p_action, p_step => p_steps[1]);
  if v_locked is not null then
    return array[v_locked || jsonb_build_object('version', p_steps[1].version, 'attempt', v_first)];
  end if;
  select * into v_run from ctx0_private.outside_run();
  if v_run.attempt <> v_first then
    -- Another client has begun this version. Its attempt is brought to its end first.
    v_step := p_steps[1];
    v_step.attempt := v_run.attempt;
    v_answers := ctx0_private.change_schema(
      p_action => p_action, p_steps => array[v_step], p_applied_by => v_run.applied_by, p_backup_by => p_backup_by,
      p_continues => p_continues, p_budget => null, p_response => p_response);
    if v_answers[1] ->> 'outcome' not in ('applied', 'rolled_back') then
      return array[v_answers[1] || jsonb_build_object('attempt', v_first)
                   || case v_answers[1] ->> 'outcome' when 'locked' then '{"held_by": "change"}' else '{}' end::jsonb];
    end if;
    v_answers := '{}';
  end if;

  v_installation := ctx0_private.installation();
  v_problem := ctx0_private.table_problem(p_owner => current_user);
  foreach v_step in array p_steps loop
    v_started := clock_timestamp();
    v_is_new := false;
    v_answer := case when v_problem is null then ctx0_private.recorded_response(p_action => p_action, p_step => v_step)
                     else jsonb_build_object('outcome', 'conflict', 'reason', 'unsafe_table', 'message', v_problem) end;
    if v_answer is null then
      exit when v_answers[1] ? 'replayed';
      v_is_new := true;
      if p_action = 'rollback' then
        select d.sql, d.outside
          into v_step.sql, v_step.outside
          from ctx0_private.stored_down(p_version => v_step.version, p_sql => v_step.sql, p_outside => v_step.outside) d;
      end if;
      v_answer := ctx0_private.decide_change(p_action => p_action, p_step => v_step);
    end if;
    if v_answer is null and v_step.outside is not null then
      v_answer := ctx0_private.step_outside(
        p_action => p_action, p_step => v_step, p_applied_by => p_applied_by, p_response => p_response);
      select * into v_run from ctx0_private.outside_run();
      if v_answer ->> 'outcome' in ('outside', 'locked') then
        v_locked := case v_answer ->> 'outcome' when 'locked' then ctx0_private.locked(p_attempt => v_step.attempt) else v_answer end;
        return array[v_locked || jsonb_build_object('version', v_step.version, 'attempt', v_step.attempt)];
      elsif v_answer ->> 'outcome' = 'failed' then
        v_answer := v_answer || jsonb_build_object(
          'statement', 1, 'checksum', ctx0_private.checksum(p_sql => v_step.sql),
          'retryable', v_answer ->> 'sqlstate' in ('55P03', '40001', '40P01'));
      elsif v_answer ->> 'outcome' is null then
        v_step.sql := array(select jsonb_array_elements_text(v_answer -> 'sql'));
        v_answer := null;
      end if;
    end if;
    if v_answer is null and v_step.outside is null and ctx0_private.cancelled_by(p_attempt => v_first) is not null then
      v_answer := jsonb_build_object(
        'outcome', 'cancelled', 'cancelled_by', ctx0_private.cancelled_by(p_attempt => v_first), 'statement', 0);
    end if;
    if v_answer is null then
      v_others := coalesce(v_others, ctx0_private.other_versions(p_version => v_step.version));
      v_answer := ctx0_private.run_migration(
        p_action => p_action, p_version => v_step.version, p_name => v_step.name, p_description => v_step.description,
        p_sql => v_step.sql, p_checksum => v_step.checksum, p_applied_by => p_applied_by, p_attempt => v_step.attempt,
        -- What a statement outside a transaction has done is recorded, whoever has asked to stop it since. But an index can
        -- still be removed.
        p_lock_timeout => '5s',
        p_request => case when v_run.attempt is distinct from v_step.attempt or v_run.statement ->> 'kind' = 'create_index' then v_first end,
        p_breaking => v_step.breaking, p_min_app_version => v_step.min_app_version, p_installation => v_installation,
        p_others => v_others);
      v_others := ctx0_private.with_version(
        p_others => v_others, p_version => v_step.version, p_name => v_step.name, p_checksum => v_step.checksum, p_attempt => v_step.attempt);
      perform ctx0_private.clean_session(p_before => v_session);
      perform set_config('search_path', 'pg_catalog, pg_temp', true);
      if v_run.attempt = v_step.attempt then
        if v_answer ->> 'outcome' in ('failed', 'cancelled') then
          -- What it has made so far is removed first.
          update ctx0_private.ctx0_schema_outside
             set failure = v_answer
           where only_row and v_answer ->> 'outcome' = 'failed' and not (v_answer -> 'retryable')::boolean;
          return array[ctx0_private.locked(p_attempt => v_step.attempt)
                       || jsonb_build_object('version', v_step.version, 'attempt', v_step.attempt)];
        end if;
        v_answer := v_answer || jsonb_build_object(
          'statements', 1, 'execution_ms', ctx0_private.milliseconds_since(p_since => v_run.started_at));
        update public.ctx0_schema_versions
           set execution_ms = (v_answer -> 'execution_ms')::bigint
         where version = v_step.version;
        perform ctx0_private.forget_outside(p_run => v_run);
        v_started := v_run.started_at;
      end if;
      v_changed := v_changed or v_answer ->> 'outcome' not in ('failed', 'cancelled');
    end if;

    v_ended := v_answer ->> 'outcome' in ('failed', 'conflict', 'cancelled');
    exit when v_ended and v_answers <> '{}' and v_answer ->> 'outcome' <> 'cancelled'
              and v_answer ->> 'sqlstate' is distinct from '57014';
    v_answer := v_answer || jsonb_build_object('version', v_step.version, 'attempt', v_step.attempt);
    if v_is_new then
      v_answer := v_answer || jsonb_build_object('current_version', ctx0_private.current_version());
      insert into ctx0_private.ctx0_schema_attempts
             (attempt, action, version, outcome, checksum, down_sql, down_outside, sqlstate, message, applied_by,
              started_at, finished_at, result, backup_by, request, cancelled_by, server_version)
      values (v_step.attempt, p_action, v_step.version, v_answer ->> 'outcome', v_step.checksum, v_step.down_sql, v_step.down_outside,
              v_answer ->> 'sqlstate', v_answer ->> 'message', p_applied_by,
              v_started, clock_timestamp(), v_answer, p_backup_by, v_first, v_answer ->> 'cancelled_by',
              current_setting('server_version_num')::integer);
    end if;
    v_answers := v_answers || v_answer;
    exit when v_ended or cardinality(v_answers) = cardinality(p_steps) or clock_timestamp() >= v_until;
    if clock_timestamp() > v_counted + interval '50 ms' then
      -- Counting takes longer the more there are.
      exit when (select count(*) from pg_locks where pid = pg_backend_pid()) > v_most;
      v_counted := clock_timestamp();
    end if;
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

comment on function ctx0_private.change_schema(text, ctx0_private.schema_step[], text, text, boolean, interval, jsonb) is
  'ctx0: takes the steps of one request to change the schema, and records them';
