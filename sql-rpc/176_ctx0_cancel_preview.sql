-- ctx0_cancel_preview(p_preview): ends a running rehearsal.
--
-- Arguments
--   p_preview  the id under which it was started
--
-- Result: jsonb with "rpc_version" and "outcome":
--   cancelled    its statement was cancelled; the rehearsal rolls back and responds at once
--   requested    the owner of these functions may not cancel a statement of PostgREST's role. The
--                rehearsal was asked to end and has not begun another statement
--   not_running  there is no such rehearsal, or it has just ended
-- Errors: 42501 for anyone but the service role and the owner.
-- Who may call it: service_role.
create function public.ctx0_cancel_preview(p_preview uuid)
returns ctx0_private.answer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set statement_timeout = '8s'
as $$
declare
  v_key     constant bigint := ctx0_private.preview_lock(p_preview => p_preview);
  v_pid     integer;
  v_outcome text := 'not_running';
begin
  perform ctx0_private.check_caller();
  -- The request to run it may still be on its way.
  for v_wait in 1 .. 10 loop
    v_pid := ctx0_private.lock_holder(p_key => v_key);
    exit when v_pid is not null;
    perform pg_sleep(0.05);
  end loop;
  if v_pid is not null then
    begin
      if pg_cancel_backend(v_pid) then
        v_outcome := 'cancelled';
      end if;
    exception when insufficient_privilege then
      v_outcome := 'requested';
      perform pg_try_advisory_xact_lock(ctx0_private.cancel_lock(p_preview => p_preview));
      -- As long as this is held, the rehearsal sees it before its next statement.
      for v_wait in 1 .. 60 loop
        exit when ctx0_private.lock_holder(p_key => v_key) is null;
        perform pg_sleep(0.1);
      end loop;
    end;
  end if;
  return ctx0_private.answer(p_fields => jsonb_build_object('outcome', v_outcome));
end
$$;

comment on function public.ctx0_cancel_preview(uuid) is
  'ctx0: ends a running rehearsal';
