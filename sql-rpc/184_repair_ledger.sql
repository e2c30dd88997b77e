-- refuse_repair(...): why a repair must not be recorded, as {outcome, reason, message}; or that it need
-- not, as {outcome: already_recorded}; or null. The caller holds the lock.
--
-- Arguments as ctx0_repair_ledger.
create function ctx0_private.refuse_repair(p_action text, p_steps ctx0_private.schema_step[], p_expected jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step    constant ctx0_private.schema_step := p_steps[1];
  v_current constant integer := ctx0_private.current_version();
  v_row     public.ctx0_schema_versions;
  v_is      jsonb;
  v_reason  text;
  v_message text;
begin
  select * into v_row from public.ctx0_schema_versions where version = v_step.version;
  v_is := case when found then jsonb_build_object('migration_name', v_row.migration_name, 'checksum', v_row.checksum)
               else 'null' end;

  if p_action in ('mark_applied', 'accept_checksum')
     and v_is = jsonb_build_object('migration_name', v_step.name, 'checksum', v_step.checksum)
     or p_action = 'mark_not_applied' and v_is = 'null' then
    return jsonb_build_object('outcome', 'already_recorded');
  elsif v_current is distinct from (p_expected ->> 'current_version')::integer then
    v_reason := 'unexpected_version';
    v_message := format('the ledger has version %s, the caller saw %s', v_current, p_expected ->> 'current_version');
  elsif p_action = 'baseline' then
    if v_current <> 0 then
      v_reason := 'gap';
      v_message := 'the ledger is not empty';
    elsif ctx0_private.fingerprint(p_objects => ctx0_private.describe_schema()) is distinct from p_expected ->> 'fingerprint' then
      v_reason := 'unexpected_objects';
      v_message := 'the objects of ctx0 are no longer as the caller saw them';
    end if;
  elsif v_is is distinct from coalesce(p_expected -> 'row', 'null') then
    v_reason := 'unexpected_version';
    v_message := format('version %s is no longer in the ledger as the caller saw it', v_step.version);
  elsif p_action = 'mark_applied' and v_is <> 'null' then
    v_reason := 'different_migration';
    v_message := format('version %s is in the ledger as %s, from another text', v_step.version, v_row.migration_name);
  elsif p_action = 'mark_applied' and v_step.version > v_current + 1 then
    v_reason := 'gap';
    v_message := format('the ledger has version %s, so version %s cannot be next', v_current, v_step.version);
  elsif p_action = 'mark_not_applied' and v_step.version <> v_current then
    v_reason := 'gap';
    v_message := format('the ledger has version %s, which must be marked as not applied before version %s', v_current, v_step.version);
  elsif p_action = 'accept_checksum' and v_is = 'null' then
    v_reason := 'gap';
    v_message := format('version %s is not in the ledger', v_step.version);
  end if;
  if v_reason is null then
    return null;
  end if;
  return jsonb_build_object('outcome', 'conflict', 'reason', v_reason, 'message', v_message);
end
$$;

comment on function ctx0_private.refuse_repair(text, ctx0_private.schema_step[], jsonb) is
  'ctx0: why a repair of the ledger must not or need not be recorded';

-- write_repair(p_action, p_step, p_by): changes the row of one version. Returns the down SQL that
-- belongs to it from now on.
create function ctx0_private.write_repair(p_action text, p_step ctx0_private.schema_step, p_by text)
returns text[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_down text[] := p_step.down_sql;
begin
  if p_action = 'mark_not_applied' then
    delete from public.ctx0_schema_versions where version = p_step.version;
    return null;
  elsif p_action = 'accept_checksum' then
    -- What was stored when the version ran undoes what ran.
    select coalesce(a.down_sql, v_down) into v_down
      from public.ctx0_schema_versions v
      left join ctx0_private.ctx0_schema_attempts a on a.attempt = v.attempt
     where v.version = p_step.version;
    update public.ctx0_schema_versions
       set migration_name = p_step.name, description = p_step.description, checksum = p_step.checksum, attempt = p_step.attempt,
           breaking = p_step.breaking, min_app_version = p_step.min_app_version
     where version = p_step.version;
  else
    insert into public.ctx0_schema_versions
           (version, migration_name, description, applied_at, applied_by, checksum, attempt, breaking, min_app_version)
    values (p_step.version, p_step.name, p_step.description, now(), p_by, p_step.checksum, p_step.attempt,
            p_step.breaking, p_step.min_app_version);
  end if;
  return v_down;
end
$$;

comment on function ctx0_private.write_repair(text, ctx0_private.schema_step, text) is
  'ctx0: changes the row of one version in the ledger';

-- repair_ledger(...): what ctx0_repair_ledger does.
create function ctx0_private.repair_ledger(
  p_action   text,
  p_steps    ctx0_private.schema_step[],
  p_expected jsonb,
  p_by       text,
  p_reason   text
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started constant timestamptz := clock_timestamp();
  v_before  integer;
  v_locked  jsonb;
  v_problem text;
  v_answer  jsonb;
  v_refused jsonb;
  v_step    ctx0_private.schema_step;
  v_down    text[];
  v_by      text;
begin
  v_answer := ctx0_private.first_damaged(p_steps => p_steps);
  if v_answer is not null then
    return v_answer;
  end if;
  v_locked := ctx0_private.take_lock(p_action => p_action, p_step => p_steps[1]);
  if v_locked is not null then
    return v_locked;
  end if;
  v_problem := ctx0_private.table_problem(p_owner => current_user);
  if v_problem is not null then
    return jsonb_build_object('outcome', 'conflict', 'reason', 'unsafe_table', 'message', v_problem);
  end if;
  v_answer := ctx0_private.recorded_response(p_action => p_action, p_step => p_steps[1]);
  if v_answer is not null then
    return v_answer;
  end if;

  begin
    if ctx0_private.cancelled_by(p_attempt => p_steps[1].attempt) is not null then
      raise query_canceled;
    end if;
    v_before := ctx0_private.current_version();
    v_refused := ctx0_private.refuse_repair(p_action => p_action, p_steps => p_steps, p_expected => p_expected);
    foreach v_step in array p_steps loop
      v_down := case when v_refused is null
                     then ctx0_private.write_repair(p_action => p_action, p_step => v_step, p_by => p_by) end;
      v_answer := coalesce(v_refused, '{"outcome": "recorded"}') || jsonb_build_object(
        'version', v_step.version, 'attempt', v_step.attempt, 'current_version', ctx0_private.current_version());
      insert into ctx0_private.ctx0_schema_attempts
             (attempt, action, version, outcome, checksum, down_sql, down_outside, message, applied_by, reason, request,
              started_at, finished_at, result, server_version)
      values (v_step.attempt, p_action, v_step.version, v_answer ->> 'outcome', v_step.checksum, v_down,
              case when v_down = v_step.down_sql then v_step.down_outside end,
              v_answer ->> 'message', p_by, p_reason, p_steps[1].attempt,
              v_started, clock_timestamp(), v_answer, current_setting('server_version_num')::integer);
      exit when v_refused is not null;
    end loop;
    if v_refused is null and ctx0_private.current_version() <> v_before then
      -- From now on the schema is compared with what it is now; or, if a version is said not to be there, with what the
      -- version before it left.
      update ctx0_private.ctx0_schema_attempts a
         set objects = d.objects, fingerprint = ctx0_private.fingerprint(p_objects => d.objects), server_version = d.server_version
        from (
          select ctx0_private.describe_schema() as objects, current_setting('server_version_num')::integer as server_version
           where p_action <> 'mark_not_applied'
          union all
          (select l.objects, l.server_version
             from ctx0_private.ctx0_schema_attempts l
            where p_action = 'mark_not_applied' and l.objects is not null
              and (l.result ->> 'current_version')::integer = ctx0_private.current_version()
            order by l.finished_at desc
            limit 1)) d
       where a.attempt = v_step.attempt;
    end if;
    if ctx0_private.cancelled_by(p_attempt => p_steps[1].attempt) is not null then
      raise query_canceled;
    end if;
  exception when query_canceled then
    v_by := ctx0_private.cancelled_by(p_attempt => p_steps[1].attempt);
    if v_by is null then
      raise;
    end if;
    perform ctx0_private.show_undone();
    v_step := p_steps[1];
    v_answer := jsonb_build_object(
      'outcome', 'cancelled', 'cancelled_by', v_by, 'version', v_step.version, 'attempt', v_step.attempt,
      'current_version', ctx0_private.current_version());
    insert into ctx0_private.ctx0_schema_attempts
           (attempt, action, version, outcome, checksum, applied_by, reason, request, started_at, finished_at, result,
            cancelled_by, server_version)
    values (v_step.attempt, p_action, v_step.version, 'cancelled', v_step.checksum, p_by, p_reason, v_step.attempt,
            v_started, clock_timestamp(), v_answer, v_by, current_setting('server_version_num')::integer);
  end;
  return v_answer;
end
$$;

comment on function ctx0_private.repair_ledger(text, ctx0_private.schema_step[], jsonb, text, text) is
  'ctx0: repairs the ledger and records the repair';
