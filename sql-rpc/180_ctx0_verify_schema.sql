-- ctx0_verify_schema(): whether the schema is still as the last change left it.
--
-- Result: jsonb
--   rpc_version, server_version (server_version_num), current_version
--   fingerprint  SHA-256 (hex) of the objects of ctx0 as they are now
--   recorded     the last recorded change that left the current version, or null:
--                  {action, version, finished_at, server_version, fingerprint}
--   objects      where the fingerprints differ, the objects that do:
--                  [{name, before: [[part, name, definition], …] or null, after: likewise}]
-- Errors: 42501 for anyone but the service role and the owner.
-- Who may call it: service_role.
create function public.ctx0_verify_schema()
returns ctx0_private.answer
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_current     integer;
  v_objects     jsonb;
  v_fingerprint text;
  v_recorded    ctx0_private.ctx0_schema_attempts;
begin
  perform ctx0_private.check_caller();
  v_current := ctx0_private.current_version();
  v_objects := ctx0_private.describe_schema();
  v_fingerprint := encode(sha256(convert_to(v_objects::text, 'UTF8')), 'hex');
  select * into v_recorded
    from ctx0_private.ctx0_schema_attempts a
   where a.outcome in ('applied', 'rolled_back')
   order by a.finished_at desc
   limit 1;
  -- Whoever changed the ledger by hand has changed the schema by hand too.
  if v_recorded.objects is null
     or v_current <> v_recorded.version - (v_recorded.action = 'rollback')::integer then
    v_recorded := null;
  end if;
  return ctx0_private.answer(p_fields => jsonb_build_object(
    'server_version', current_setting('server_version_num')::integer,
    'current_version', v_current,
    'fingerprint', v_fingerprint,
    'recorded', case when v_recorded.attempt is not null then jsonb_build_object(
      'action', v_recorded.action, 'version', v_recorded.version, 'finished_at', v_recorded.finished_at,
      'server_version', v_recorded.server_version, 'fingerprint', v_recorded.fingerprint) end,
    'objects', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'name', coalesce(b.key, a.key), 'before', b.value, 'after', a.value) order by coalesce(b.key, a.key)), '[]')
        from jsonb_each(v_recorded.objects) b
        full join jsonb_each(v_objects) a on a.key = b.key
       where v_recorded.attempt is not null and a.value is distinct from b.value
    )
  ));
end
$$;

comment on function public.ctx0_verify_schema() is
  'ctx0: whether the schema is still as the last change left it';
