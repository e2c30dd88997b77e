-- Runs a statement outside a transaction in a job of the extension pg_cron, which has a connection of its own.
--
-- The job is due at one minute of each quarter of an hour: releases before 1.5 know no seconds, and in later ones the
-- hour, and in some time zones the quarter, depends on cron.timezone, which only a superuser may read. Once it runs, its
-- schedule becomes one that never comes. It is not removed then: pg_cron ends the statement of a job that is removed
-- while it runs. It is removed with the row in ctx0_schema_outside. If every client dies before that, it runs again a
-- quarter of an hour later and finds the name of its index taken; the next client that asks removes it.
--
-- Whether the statement has run is read from the catalog. What pg_cron records says only why it has not.

-- no_cron(): why pg_cron runs nothing here, or null.
create function ctx0_private.no_cron()
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from pg_extension where extname = 'pg_cron') then
    return 'the extension pg_cron is not installed';
  elsif not has_schema_privilege('cron', 'usage') then
    return format('%s may not use the extension pg_cron', current_user);
  elsif to_regprocedure('cron.schedule(text,text,text)') is null then
    return 'the extension pg_cron is older than 1.4';
  elsif not has_function_privilege('cron.schedule(text,text,text)', 'execute')
        or not has_table_privilege('cron.job', 'select') or not has_table_privilege('cron.job_run_details', 'select') then
    return format('%s may not use the extension pg_cron', current_user);
  end if;
  return null;
end
$$;

comment on function ctx0_private.no_cron() is
  'ctx0: why pg_cron runs nothing here';

-- begin_job(p_run, p_sql): has pg_cron run this at the next minute, at least five seconds from now, so that pg_cron
-- hears of it before. Whether that could be arranged; if not, no_job says why. The name of the index is in a comment, by
-- which outside_backend() finds the session.
create function ctx0_private.begin_job(p_run ctx0_private.ctx0_schema_outside, p_sql text)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_due     constant timestamptz := date_trunc('minute', clock_timestamp() + interval '65 s');
  v_job     bigint;
  v_problem text;
begin
  perform ctx0_private.remove_job(p_run => p_run);
  begin
    v_job := cron.schedule(
      'ctx0 ' || p_run.attempt, format('%s-59/15 * * * *', extract(minute from v_due)::integer % 15),
      format('%s /* %s */', p_sql, ctx0_private.outside_name(p_kind => p_run.statement ->> 'kind', p_attempt => p_run.attempt)));
  exception when others then
    v_problem := 'pg_cron: ' || sqlerrm;
  end;
  update ctx0_private.ctx0_schema_outside
     set job = v_job, job_due = v_due, no_job = v_problem, run_at = clock_timestamp()
   where only_row;
  return v_job is not null;
end
$$;

comment on function ctx0_private.begin_job(ctx0_private.ctx0_schema_outside, text) is
  'ctx0: has pg_cron run a statement at the next minute';

-- disarm_job(p_run): sees to it that the job of a statement that runs does not begin once more: there is no 31 February.
create function ctx0_private.disarm_job(p_run ctx0_private.ctx0_schema_outside)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_never constant text := '0 0 31 2 *';
begin
  if p_run.job is not null then
    perform cron.schedule(j.jobname::text, v_never, j.command) from cron.job j where j.jobid = p_run.job and j.schedule <> v_never;
  end if;
end
$$;

comment on function ctx0_private.disarm_job(ctx0_private.ctx0_schema_outside) is
  'ctx0: sees to it that a job does not begin once more';

-- remove_job(p_run): removes the job of pg_cron that this run has. If it runs, pg_cron ends its statement. Whether
-- there was one.
create function ctx0_private.remove_job(p_run ctx0_private.ctx0_schema_outside)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_run.job is null then
    return false;
  end if;
  return coalesce((select cron.unschedule(j.jobid) from cron.job j where j.jobid = p_run.job), false);
exception when others then
  return false; -- Another session has removed it at the same time, or the extension.
end
$$;

comment on function ctx0_private.remove_job(ctx0_private.ctx0_schema_outside) is
  'ctx0: removes the job of a version that is running outside a transaction';

-- job_end(p_run): why a job has not done what it is for, while no session is seen that runs its statement:
--   {}            it was interrupted, or removed
--   {ran: true}   pg_cron says that it has
--   {failure: ...}  its statement failed, as failure()
--   {no_job: ...}   pg_cron cannot run it
-- Null: it is not known yet.
create function ctx0_private.job_end(p_run ctx0_private.ctx0_schema_outside, p_left_over text)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_status  text;
  v_message text;
  v_begun   boolean;
begin
  if not exists (select from cron.job j where j.jobid = p_run.job) then
    return '{}';
  end if;
  select d.status, nullif(rtrim(d.return_message, E' \n'), ''), d.job_pid is not null
    into v_status, v_message, v_begun
    from cron.job_run_details d
   where d.jobid = p_run.job
   order by d.runid desc
   limit 1;
  if v_status = 'failed' and v_message ~ '^\w+: ' and v_message !~ '^(FATAL|PANIC)' then
    return jsonb_build_object('failure', ctx0_private.failure('CTX06', regexp_replace(v_message, '^\w+: +', '')));
  elsif v_status = 'failed' and (v_begun or v_message in ('job canceled', 'job cancelled', 'server restarted')) then
    return '{}';
  elsif v_status = 'failed' then
    return jsonb_build_object('no_job', 'pg_cron: ' || coalesce(v_message, 'the job failed'));
  elsif v_status = 'succeeded' then
    return '{"ran": true}';
  elsif clock_timestamp() < p_run.job_due + interval '60 s' then
    return null;
  elsif v_status is null and p_left_over is not null then
    return jsonb_build_object('failure', ctx0_private.failure(
      'CTX06', 'pg_cron has begun the statement, and records nothing of why it failed',
      'Set cron.log_run to on.'));
  elsif v_status is null then
    return jsonb_build_object('no_job', 'pg_cron: the job did not start within a minute');
  end if;
  return '{}';
end
$$;

comment on function ctx0_private.job_end(ctx0_private.ctx0_schema_outside, text) is
  'ctx0: why a job has not done what it is for';
