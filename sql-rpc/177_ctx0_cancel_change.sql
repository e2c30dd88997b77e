-- ctx0_cancel_change(p_attempt, p_cancelled_by): ends a change of the schema, so that nothing of its version is
-- left. A version that has been committed stays.
--
-- The first call records who asked, and removes a job of pg_cron. That counts once it is committed, so nothing else happens
-- in it, and the caller makes a second call with the attempt of the first response. That one cancels the statement.
--
-- Arguments
--   p_attempt       the attempt, of several versions in one request the first; null: of the change that runs
--   p_cancelled_by  who asks
--
-- Result: jsonb with "outcome" and "rpc_version", and
--   requested    + attempt; the change has not ended within some seconds, or it was asked only now. It
--                begins no other statement. + pid where the owner of these functions may not cancel
--                a statement of this session: a superuser, or a member of pg_signal_backend, may
--   cancelled    + attempt, and version where it had begun; nothing of it is left, and no late copy of the
--                request begins it
--   finished     + attempt, version, result: the outcome with which it had ended before
--   not_running  p_attempt is null, and nothing is changing the schema
-- Errors: 42501 for anyone but the service role and the owner.
-- Who may call it: service_role.
create function public.ctx0_cancel_change(
  p_attempt      uuid default null,
  p_cancelled_by text default 'bot0-daemon'
)
returns ctx0_private.answer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set statement_timeout = '8s'
as $$
declare
  v_attempt constant uuid := coalesce(
    p_attempt, (select r.attempt from ctx0_private.outside_run() r), (select h.attempt from ctx0_private.holder() h where h.kind = 'change'));
  v_run     ctx0_private.ctx0_schema_outside;
  v_removed boolean;
  v_denied  integer;
  v_is_mine boolean := false;
  v_pid     integer;
  v_ended   ctx0_private.ctx0_schema_attempts;
begin
  perform ctx0_private.check_caller();
  if v_attempt is null then
    return ctx0_private.answer(p_fields => '{"outcome": "not_running"}');
  end if;
  select * into v_run from ctx0_private.outside_run() r where r.attempt = v_attempt;
  v_removed := ctx0_private.remove_job(p_run => v_run);
  if ctx0_private.cancelled_by(p_attempt => v_attempt) is null then
    select * into v_ended from ctx0_private.ctx0_schema_attempts a where a.request = v_attempt order by a.finished_at desc limit 1;
    if not found then
      insert into ctx0_private.ctx0_schema_cancellations (attempt, cancelled_by)
      values (v_attempt, coalesce(p_cancelled_by, 'bot0-daemon'))
      on conflict (attempt) do nothing;
      return ctx0_private.answer(p_fields => jsonb_build_object('outcome', 'requested', 'attempt', v_attempt));
    end if;
    return ctx0_private.answer(p_fields => jsonb_build_object(
      'outcome', 'finished', 'attempt', v_attempt, 'version', v_ended.version, 'result', v_ended.outcome));
  elsif v_removed then
    return ctx0_private.answer(p_fields => jsonb_build_object('outcome', 'requested', 'attempt', v_attempt));
  end if;

  for v_wait in 0 .. 49 loop
    v_pid := coalesce(
      (select h.pid from ctx0_private.holder() h where h.attempt = v_attempt),
      (select ctx0_private.outside_backend(p_run => r) from ctx0_private.outside_run() r where r.attempt = v_attempt));
    -- pg_cron may have begun the job before it heard that it is removed.
    exit when v_pid is null and (v_run.job_due is null or v_wait >= 20) and ctx0_private.end_outside(p_attempt => v_attempt);
    -- One call cancels and the others wait: a second signal would undo the record of the first.
    v_is_mine := v_is_mine or pg_try_advisory_xact_lock(ctx0_private.lock_key() + 20, hashtext(v_attempt::text));
    -- Again each second, because a `do` block that catches query_canceled goes on.
    if v_is_mine and v_wait % 10 = 0 then
      begin
        perform pg_cancel_backend(v_pid) where not ctx0_private.is_undone(p_pid => v_pid);
      exception when insufficient_privilege then
        v_denied := v_pid; -- Then it ends before its next statement.
      end;
    end if;
    perform pg_sleep(0.1);
  end loop;
  if v_pid is not null or exists (select from ctx0_private.outside_run() r where r.attempt = v_attempt) then
    return ctx0_private.answer(p_fields => jsonb_strip_nulls(jsonb_build_object(
      'outcome', 'requested', 'attempt', v_attempt, 'pid', v_denied)));
  end if;

  -- Of several versions the last one that was decided.
  select * into v_ended
    from ctx0_private.ctx0_schema_attempts a
   where a.request = v_attempt
   order by a.finished_at desc
   limit 1;
  return ctx0_private.answer(p_fields => jsonb_strip_nulls(jsonb_build_object(
    'outcome', case when coalesce(v_ended.outcome, 'cancelled') = 'cancelled' then 'cancelled' else 'finished' end,
    'attempt', v_attempt, 'version', v_ended.version,
    'result', case when v_ended.outcome <> 'cancelled' then v_ended.outcome end)));
end
$$;

comment on function public.ctx0_cancel_change(uuid, text) is
  'ctx0: ends a change of the schema, so that nothing of its version is left';
