-- ctx0_running(p_attempt): what is changing or rehearsing the schema at this moment, and how far it is.
--
-- Arguments
--   p_attempt  the caller's own attempt, if it waits for one
--
-- Result: jsonb with "rpc_version" and
--   running  null, or an object with
--     held_by   attempt (p_attempt itself) | change | rehearsal
--     position  {action, version, statement, statements, version_ms, statement_ms, phase, percent};
--               missing where it cannot be seen, for example because the migration uses
--               application_name itself. statement is 0 after the last one. phase and percent only
--               where PostgreSQL counts what the statement does: an index, vacuum, cluster, copy
-- Errors: 42501 for anyone but the service role and the owner.
-- Who may call it: service_role.
create function public.ctx0_running(p_attempt uuid default null)
returns ctx0_private.answer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform ctx0_private.check_caller();
  return ctx0_private.answer(p_fields => jsonb_build_object('running', ctx0_private.running(p_attempt => p_attempt)));
end
$$;

comment on function public.ctx0_running(uuid) is
  'ctx0: what is changing the schema at this moment, and how far it is';
