-- rehearse(...): what ctx0_rehearse_migrations and ctx0_rehearse_migrations_long do.
create function ctx0_private.rehearse(p_steps jsonb, p_expected_version integer, p_preview uuid, p_budget interval)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_stop_at constant timestamptz := clock_timestamp() + p_budget;
  v_session constant jsonb := ctx0_private.remember_session();
  v_held_by text;
  v_current integer;
  v_problem text;
  v_plan    jsonb;
  v_seen    jsonb;
  v_drifted jsonb;
begin
  if coalesce(jsonb_typeof(p_steps), '') <> 'array' then
    raise invalid_parameter_value using message = 'a rehearsal needs p_steps, a list';
  end if;
  v_held_by := ctx0_private.take_rehearsal_lock();
  if v_held_by is not null then
    return jsonb_build_object('outcome', 'locked', 'rehearsal', v_held_by = 'rehearsal');
  end if;

  v_current := ctx0_private.current_version();
  if v_current <> p_expected_version then
    return jsonb_build_object(
      'outcome', 'conflict', 'reason', 'unexpected_version', 'current_version', v_current,
      'message', format('the database has version %s, the caller expected %s', v_current, p_expected_version));
  end if;
  v_problem := ctx0_private.table_problem(p_owner => current_user);
  if v_problem is not null then
    return jsonb_build_object(
      'outcome', 'conflict', 'reason', 'unsafe_table', 'current_version', v_current, 'message', v_problem);
  end if;
  v_plan := ctx0_private.plan_rehearsal(p_steps => p_steps);
  if v_plan ? 'reason' then
    return v_plan || jsonb_build_object('outcome', 'conflict', 'current_version', v_current);
  end if;

  v_drifted := ctx0_private.drifted_objects();
  for v_try in 1 .. 3 loop
    v_seen := ctx0_private.rehearse_steps(
      p_steps => v_plan -> 'steps', p_session => v_session, p_preview => p_preview, p_stop_at => v_stop_at);
    exit when not (v_seen -> 'disturbed')::boolean or clock_timestamp() >= v_stop_at;
  end loop;
  -- The statement timeout began a little before v_stop_at was set.
  return v_seen - 'disturbed' || jsonb_build_object(
    'outcome', 'rehearsed', 'current_version', v_current, 'drifted', v_drifted,
    'unrecorded', v_current = 0 and exists (select from ctx0_private.schema_objects(p_ours => true)),
    'cancelled', v_seen -> 'versions' -> -1 ->> 'outcome' = 'stopped'
                 and (clock_timestamp() < v_stop_at - least(p_budget / 5, interval '1 s')
                      or ctx0_private.must_stop(p_preview => p_preview, p_stop_at => 'infinity')));
end
$$;

comment on function ctx0_private.rehearse(jsonb, integer, uuid, interval) is
  'ctx0: runs versions and reports what they change';
