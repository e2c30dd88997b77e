-- rehearse_steps(...): runs versions in a block that ends with a private error, so that everything is
-- rolled back. PL/pgSQL variables keep what was learned by then.
--
-- Arguments
--   p_steps    from plan_rehearsal()
--   p_session  from remember_session()
--   the others as rehearse()
--
-- Result: {versions, tables, sequences, cron, disturbed}; cron: whether pg_cron can run a version outside a transaction; disturbed where another session has changed one
-- of the same objects meanwhile, so that before and after do not belong together.
create function ctx0_private.rehearse_steps(p_steps jsonb, p_session jsonb, p_preview uuid, p_stop_at timestamptz)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_step        jsonb;
  v_outside     jsonb;
  v_answer      jsonb;
  v_versions    jsonb := '[]';
  v_base        ctx0_private.schema_object[];
  v_current     ctx0_private.schema_object[];
  v_before      ctx0_private.schema_object[];
  v_after       ctx0_private.schema_object[];
  v_touched     oid[];
  v_all_touched oid[] := '{}';
  v_was         jsonb;
  v_is          jsonb;
  v_numbers     jsonb;
  v_protected   oid[] := '{}';
  v_left        jsonb := '{}';
  v_used        jsonb;
  v_moved       jsonb;
  v_tables      jsonb;
  v_stopped     boolean := false;
  v_disturbed   boolean := false;
begin
  begin
    if p_preview is not null then
      -- It may be cancelled as long as this is held: to the end of this block.
      perform pg_try_advisory_xact_lock(ctx0_private.preview_lock(p_preview => p_preview));
    end if;
    v_numbers := ctx0_private.sequence_values();
    v_protected := ctx0_private.protect_sequences(p_text => (
      select string_agg(s.sql, ' ')
        from jsonb_array_elements(p_steps) step
       cross join lateral jsonb_array_elements_text(step -> 'sql') s (sql)));
    v_base := ctx0_private.look_at_objects();
    v_current := v_base;
    v_was := ctx0_private.observe_tables();

    for v_step in select value from jsonb_array_elements(p_steps) loop
      v_outside := ctx0_private.outside_table(p_outside => nullif(v_step -> 'outside', 'null'));
      v_answer := ctx0_private.run_migration(
        p_action => v_step ->> 'action', p_version => (v_step ->> 'version')::integer, p_name => v_step ->> 'name',
        p_description => v_step ->> 'description', p_sql => array(select jsonb_array_elements_text(v_step -> 'sql')),
        p_checksum => v_step ->> 'checksum', p_applied_by => 'rehearsal', p_attempt => null,
        p_lock_timeout => '2s', p_preview => p_preview, p_stop_at => p_stop_at);
      perform ctx0_private.clean_session(p_before => p_session);
      perform set_config('search_path', 'pg_catalog, pg_temp', true);
      perform ctx0_private.impose_limits(p_lock_timeout => '2s');
      v_answer := v_answer || jsonb_build_object(
        'action', v_step -> 'action', 'version', v_step -> 'version', 'name', v_step -> 'name', 'outside_table', v_outside);
      if v_answer ->> 'sqlstate' = '57014' then
        v_stopped := true;
        v_answer := v_answer || '{"outcome": "stopped"}';
      elsif v_answer ->> 'sqlstate' = '55P04' and ctx0_private.is_added_value(p_message => v_answer ->> 'message') then
        v_answer := v_answer || '{"outcome": "after_previous"}';
      end if;
      if v_answer ->> 'outcome' not in ('applied', 'rolled_back') then
        v_versions := v_versions || v_answer;
        exit;
      end if;

      v_used := ctx0_private.used_sequences(p_protected => v_protected);
      v_left := v_used || v_left || jsonb_strip_nulls(v_used);
      v_touched := ctx0_private.touched_objects();
      v_all_touched := v_all_touched || v_touched;
      v_after := ctx0_private.look_at_objects(p_only => v_touched);
      v_is := ctx0_private.observe_tables();
      v_before := array(select o from unnest(v_current) o where o.id in (select unnest(v_touched)));
      v_versions := v_versions || (v_answer
        || ctx0_private.describe_version(
             p_base => v_base, p_before => v_before, p_after => v_after, p_was => v_was, p_is => v_is)
        || jsonb_build_object('restarted', ctx0_private.restarted_sequences(p_before => v_numbers)));
      v_current := v_after || array(
        select o from unnest(v_current) o where not exists (select from unnest(v_touched) t where t = o.id));
      v_was := v_is;
      perform ctx0_private.defer_constraints();
    end loop;

    -- What a failed version used is not undone either.
    v_used := ctx0_private.used_sequences(p_protected => v_protected);
    v_left := v_used || v_left || jsonb_strip_nulls(v_used);
    raise sqlstate 'CTX00';
  exception
    when sqlstate 'CTX00' then
      null;
    when query_canceled then
      -- The outcome of a migration is in v_versions already; this happened while looking.
      v_stopped := true;
      v_used := null;
      v_versions := v_versions || jsonb_build_object(
        'action', v_step -> 'action', 'version', v_step -> 'version', 'name', v_step -> 'name', 'outcome', 'stopped');
  end;
  -- A request to cancel that was sent while the block ran may still arrive.
  loop
    begin
      v_moved := ctx0_private.restore_sequences(
        p_before => v_numbers,
        p_left => v_left || case when v_used is null then ctx0_private.used_sequences(p_protected => v_protected) else '{}' end);
      perform ctx0_private.clean_session(p_before => p_session);
      exit;
    exception when query_canceled then
      v_stopped := true;
    end;
  end loop;
  perform set_config('search_path', 'pg_catalog, pg_temp', true);
  perform ctx0_private.impose_limits(p_lock_timeout => '2s');

  begin
    if not v_stopped then
      v_disturbed := exists (
        select from unnest(ctx0_private.look_at_objects(p_only => v_all_touched)) n
          full join (select o.* from unnest(v_base) o where o.id in (select unnest(v_all_touched))) b
               on b.class = n.class and b.id = n.id
         where to_jsonb(n) - 'class' is distinct from to_jsonb(b) - 'class'
           and coalesce(n.kind, b.kind) <> 'role');
    end if;
    -- A statement timeout fires only once, so nothing more is read after it.
    v_tables := ctx0_private.table_facts(
      p_versions => v_versions, p_stop_at => case when v_stopped then '-infinity'::timestamptz end);
  exception when query_canceled then
    -- What was seen cannot be judged, but nothing has failed.
    v_tables := '[]';
    v_versions := jsonb_build_array((p_steps -> 0) - '{sql,checksum,description}'::text[] || '{"outcome": "stopped"}');
  end;
  return jsonb_build_object(
    'versions', v_versions, 'tables', v_tables, 'sequences', v_moved, 'disturbed', v_disturbed,
    'cron', ctx0_private.no_cron() is null);
end
$$;

comment on function ctx0_private.rehearse_steps(jsonb, jsonb, uuid, timestamptz) is
  'ctx0: runs versions and rolls everything back';
