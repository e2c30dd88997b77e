-- plan_rehearsal(p_steps): checks the steps and finds the SQL that each of them runs.
--
-- Arguments
--   p_steps  as ctx0_rehearse_migrations
--
-- Result: {steps}, the same with the SQL of each, and outside as it is stored; or {reason, message} of a conflict.
create function ctx0_private.plan_rehearsal(p_steps jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_version integer := ctx0_private.current_version();
  v_steps   jsonb := '[]';
  v_step    record;
  v_sql     text[];
  v_outside jsonb;
begin
  for v_step in
    select s.number, s.step, s.step ->> 'action' as action, (s.step ->> 'version')::integer as version,
           case when jsonb_typeof(s.step -> 'sql') = 'array'
                then array(select jsonb_array_elements_text(s.step -> 'sql')) end as sql
      from jsonb_array_elements(p_steps) with ordinality s (step, number)
     order by s.number
  loop
    if coalesce(v_step.action, '') not in ('apply', 'rollback') or v_step.version is null
       or v_step.action = 'apply' and (v_step.step ->> 'name' is null or coalesce(cardinality(v_step.sql), 0) = 0) then
      raise invalid_parameter_value using message = format(
        'step %s of p_steps needs action (apply or rollback) and version, and to apply also name and sql', v_step.number);
    end if;
    if not ctx0_private.is_intact(p_sql => v_step.sql, p_checksum => v_step.step ->> 'checksum') then
      return jsonb_build_object('reason', 'damaged', 'message', 'the SQL that arrived is not the SQL of its checksum');
    end if;
    if v_step.version <> v_version + (v_step.action = 'apply')::integer then
      return jsonb_build_object('reason', 'gap', 'message', format(
        'the database would have version %s, so version %s cannot be next', v_version, v_step.version));
    end if;
    v_sql := v_step.sql;
    v_outside := nullif(v_step.step -> 'outside', 'null');
    if v_step.action = 'rollback' then
      select d.sql, d.outside
        into v_sql, v_outside
        from ctx0_private.stored_down(p_version => v_step.version, p_sql => v_sql, p_outside => v_outside) d;
      if v_sql is null then
        return jsonb_build_object('reason', 'not_reversible', 'message', format(
          'no down SQL is stored for version %s', v_step.version));
      end if;
    end if;
    if v_outside is not null then
      v_sql := array_remove(array[ctx0_private.inside_sql(p_outside => v_outside)], null);
    end if;
    v_version := v_step.version - (v_step.action = 'rollback')::integer;
    v_steps := v_steps || (v_step.step || jsonb_build_object('sql', v_sql, 'outside', v_outside));
  end loop;
  return jsonb_build_object('steps', v_steps);
end
$$;

comment on function ctx0_private.plan_rehearsal(jsonb) is
  'ctx0: checks the steps of a rehearsal';
