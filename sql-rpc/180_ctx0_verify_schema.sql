-- ctx0_verify_schema(): whether the schema is still as the last change left it.
--
-- Result: jsonb
--   rpc_version, server_version (server_version_num), current_version
--   format    the format in which these functions describe a schema
--   recorded  the last recorded change that left the current version, or null:
--               {action, version, finished_at, server_version, format}
--   objects   the objects that were changed since:
--               [{name, before: [[part, name, definition], …] or null, after: likewise}]
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
  v_object   record;
  v_differs  boolean;
  v_reason   text;
  v_objects  jsonb := '[]';
  v_unknown  jsonb := '[]';
begin
  perform ctx0_private.check_caller();
  v_current := ctx0_private.current_version();
  v_now := ctx0_private.describe_schema();
  select * into v_recorded
    from ctx0_private.ctx0_schema_attempts a
   where a.outcome in ('applied', 'rolled_back')
   order by a.finished_at desc
   limit 1;
  -- If the ledger was changed by hand, so was the schema.
  if v_recorded.objects is null
     or v_current <> v_recorded.version - (v_recorded.action = 'rollback')::integer then
    v_recorded := null;
  end if;

  for v_object in
    select coalesce(b.key, a.key) as name, b.value as before, a.value as after
      from jsonb_each(v_recorded.objects -> 'objects') b
      full join jsonb_each(v_now -> 'objects') a on a.key = b.key
     where v_recorded.objects -> 'format' = v_now -> 'format'
       and a.value is distinct from b.value
       and ((b.value is null) = (a.value is null)
            or not coalesce(a.value, b.value) @? 'strict $[*] ? (@[0] == "option" && @[1] == "partition of")')
     order by 1
  loop
    v_differs := true;
    if v_object.before is not null and v_object.after is not null then
      select c.differs, c.unknown into v_differs, v_reason
        from ctx0_private.compare_definitions(v_object.name, v_object.before, v_object.after) c;
    end if;
    if v_differs then
      v_objects := v_objects || jsonb_build_object(
        'name', v_object.name, 'before', v_object.before, 'after', v_object.after);
    elsif v_reason is not null then
      v_unknown := v_unknown || jsonb_build_object('name', v_object.name, 'reason', v_reason);
    end if;
  end loop;

  return ctx0_private.answer(p_fields => jsonb_build_object(
    'server_version', current_setting('server_version_num')::integer,
    'current_version', v_current,
    'format', v_now -> 'format',
    'recorded', case when v_recorded.attempt is not null then jsonb_build_object(
      'action', v_recorded.action, 'version', v_recorded.version, 'finished_at', v_recorded.finished_at,
      'server_version', v_recorded.server_version, 'format', coalesce(v_recorded.objects -> 'format', '1')) end,
    'objects', v_objects,
    'unknown', v_unknown));
end
$$;

comment on function public.ctx0_verify_schema() is
  'ctx0: whether the schema is still as the last change left it';
