-- ctx0_verify_schema(): whether the schema is still as the last change left it.
--
-- Result: jsonb
--   rpc_version, server_version (server_version_num), current_version
--   format    the format in which these functions describe a schema
--   recorded  the last recorded change that left the current version, or null:
--               {action, version, finished_at, server_version, format}
--   objects   the objects that were changed since:
--               [{name, before: [[part, name, definition], ...] or null, after: likewise}]
--   unknown   the objects that could not be compared: [{name, reason}]
--   Both are empty where nothing was recorded, or in another format.
-- Errors: 42501 for anyone but the service role and the owner.
-- Who may call it: service_role.
--
-- Partitions come and go with the data. One that was created, attached or dropped since is no
-- change of the schema; one that was there and still is is compared like any table.
--
-- Where two descriptions are equal nothing but the catalog is read. Where definitions differ,
-- PostgreSQL is asked whether they mean the same (see compare_definitions), because
-- it prints some of them differently after a restored dump and in another release.
create function public.ctx0_verify_schema()
returns ctx0_private.answer
language plpgsql
-- Not stable: PostgREST would call it in a transaction that is read-only.
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform ctx0_private.check_caller();
  return ctx0_private.answer(p_fields => ctx0_private.drift());
end
$$;

comment on function public.ctx0_verify_schema() is
  'ctx0: whether the schema is still as the last change left it';
