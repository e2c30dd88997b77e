-- drift(): what ctx0_verify_schema returns.
create function ctx0_private.drift()
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_current  constant integer := ctx0_private.current_version();
  v_now      constant jsonb := ctx0_private.describe_schema();
  v_recorded ctx0_private.ctx0_schema_attempts;
  v_found    jsonb;
begin
  select * into v_recorded from ctx0_private.latest_change();
  -- If the ledger was changed by hand, so was the schema.
  if v_recorded.objects is null or v_current is distinct from (v_recorded.result ->> 'current_version')::integer then
    v_recorded := null;
  end if;
  if v_recorded.objects -> 'format' = v_now -> 'format' then
    v_found := ctx0_private.compare_objects(p_objects => ctx0_private.differing_objects(
      p_before => v_recorded.objects -> 'objects', p_after => v_now -> 'objects'));
  end if;

  return jsonb_build_object(
    'server_version', current_setting('server_version_num')::integer,
    'current_version', v_current,
    'format', v_now -> 'format',
    'recorded', case when v_recorded.attempt is not null then jsonb_build_object(
      'action', v_recorded.action, 'version', v_recorded.version, 'finished_at', v_recorded.finished_at,
      'server_version', v_recorded.server_version, 'format', coalesce(v_recorded.objects -> 'format', '1')) end,
    'objects', coalesce(v_found -> 'objects', '[]'),
    'unknown', coalesce(v_found -> 'unknown', '[]'));
end
$$;

comment on function ctx0_private.drift() is
  'ctx0: whether the schema is still as the last change left it, and what was changed since';

-- drifted_objects(): the names of the objects that were changed since; none where a table is in use.
create function ctx0_private.drifted_objects()
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
begin
  return jsonb_path_query_array(ctx0_private.drift(), '$.objects[*].name');
exception when lock_not_available then
  return '[]';
end
$$;

comment on function ctx0_private.drifted_objects() is
  'ctx0: the names of the objects that were changed since the last change left them';
