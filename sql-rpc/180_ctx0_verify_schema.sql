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
declare
  v_current  integer;
  v_now      jsonb;
  v_recorded ctx0_private.ctx0_schema_attempts;
  v_found    jsonb;
begin
  perform ctx0_private.check_caller();
  v_current := ctx0_private.current_version();
  v_now := ctx0_private.describe_schema();
  select * into v_recorded from ctx0_private.latest_change();
  -- If the ledger was changed by hand, so was the schema.
  if v_recorded.objects is null or v_current is distinct from (v_recorded.result ->> 'current_version')::integer then
    v_recorded := null;
  end if;
  if v_recorded.objects -> 'format' = v_now -> 'format' then
    v_found := ctx0_private.compare_objects(p_objects => ctx0_private.differing_objects(
      p_before => v_recorded.objects -> 'objects', p_after => v_now -> 'objects'));
  end if;

  return ctx0_private.answer(p_fields => jsonb_build_object(
    'server_version', current_setting('server_version_num')::integer,
    'current_version', v_current,
    'format', v_now -> 'format',
    'recorded', case when v_recorded.attempt is not null then jsonb_build_object(
      'action', v_recorded.action, 'version', v_recorded.version, 'finished_at', v_recorded.finished_at,
      'server_version', v_recorded.server_version, 'format', coalesce(v_recorded.objects -> 'format', '1')) end,
    'objects', coalesce(v_found -> 'objects', '[]'),
    'unknown', coalesce(v_found -> 'unknown', '[]')));
end
$$;

comment on function public.ctx0_verify_schema() is
  'ctx0: whether the schema is still as the last change left it';
