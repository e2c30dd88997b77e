-- ctx0_cancel_preview(p_preview): ends a running rehearsal.
--
-- Arguments
--   p_preview  the id under which it was started
--
-- Result: jsonb with "rpc_version" and "outcome":
--   cancelled    what the rehearsal ran has been rolled back
--   requested    it was asked to end and has not ended within some seconds: the owner of these
--                functions may not cancel a statement of PostgREST's role. It begins no other statement
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
    v_outcome := 'requested';
    for v_wait in 0 .. 59 loop
      -- As long as this is held, the rehearsal begins no other statement. Not to be had only while
      -- the rehearsal is looking whether anybody holds it.
      perform pg_try_advisory_xact_lock_shared(ctx0_private.cancel_lock(p_preview => p_preview));
      -- Again each second, because a `do` block that catches query_canceled goes on. One that
      -- goes on after 5 s loses its connection, which nothing can catch.
      begin
        if v_wait = 50 then
          perform pg_terminate_backend(v_pid);
        elsif v_wait % 10 = 0 then
          perform pg_cancel_backend(v_pid);
        end if;
      exception when insufficient_privilege then
        null; -- Then it ends before its next statement.
      end;
      perform pg_sleep(0.1);
      v_pid := ctx0_private.lock_holder(p_key => v_key);
      if v_pid is null then
        v_outcome := 'cancelled';
        exit;
      end if;
    end loop;
  end if;
  return ctx0_private.answer(p_fields => jsonb_build_object('outcome', v_outcome));
end
$$;

comment on function public.ctx0_cancel_preview(uuid) is
  'ctx0: ends a running rehearsal';
