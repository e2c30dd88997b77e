-- differing_objects(p_before, p_after): the objects of two descriptions, as describe_schema has them
-- under "objects", whose definitions are not the same text: {name, before, after}. A partition that is
-- in one of them only is left out: partitions come and go with the data.
create function ctx0_private.differing_objects(p_before jsonb, p_after jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(jsonb_agg(jsonb_build_object(
             'name', coalesce(b.key, a.key), 'before', b.value, 'after', a.value) order by coalesce(b.key, a.key)), '[]')
      from jsonb_each(p_before) b
      full join jsonb_each(p_after) a on a.key = b.key
     where a.value is distinct from b.value
       and ((b.value is null) = (a.value is null)
            or not coalesce(a.value, b.value) @? 'strict $[*] ? (@[0] == "option" && @[1] == "partition of")'));
end
$$;

comment on function ctx0_private.differing_objects(jsonb, jsonb) is
  'ctx0: the objects of two descriptions that are not described by the same text';

-- compare_objects(p_objects): which of differing_objects() mean different things, as
--   objects  [{name, before, after}]: those that differ
--   unknown  [{name, reason}]: those for which PostgreSQL could not be asked
create function ctx0_private.compare_objects(p_objects jsonb)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_object  jsonb;
  v_differs boolean;
  v_reason  text;
  v_objects jsonb := '[]';
  v_unknown jsonb := '[]';
begin
  for v_object in select value from jsonb_array_elements(p_objects) loop
    v_differs := true;
    if v_object -> 'before' <> 'null' and v_object -> 'after' <> 'null' then
      select c.differs, c.unknown into v_differs, v_reason
        from ctx0_private.compare_definitions(v_object ->> 'name', v_object -> 'before', v_object -> 'after') c;
    end if;
    if v_differs then
      v_objects := v_objects || v_object;
    elsif v_reason is not null then
      v_unknown := v_unknown || jsonb_build_object('name', v_object ->> 'name', 'reason', v_reason);
    end if;
  end loop;
  return jsonb_build_object('objects', v_objects, 'unknown', v_unknown);
end
$$;

comment on function ctx0_private.compare_objects(jsonb) is
  'ctx0: which objects of two descriptions mean different things';
