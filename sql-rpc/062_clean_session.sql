-- clean_session(p_before): removes whatever a migration left on the connection.
--
-- PostgREST keeps its connections and uses them for the next request, whoever sends it. A plain
-- `set`, a temporary table, a session lock, a channel, a held cursor or a prepared statement would
-- stay. `reset all` is needed because settings with a name of their own, such as
-- `app.user`, are listed nowhere; what the connection itself had set is set again.
--
-- A `deallocate all` in a block or function drops PostgREST's prepared statements too, and every
-- later request on this connection would fail with 26000. They cannot be prepared again from here,
-- so PostgreSQL closes the connection as soon as it is idle, and PostgREST opens a new one.
--
-- Arguments
--   p_before  the result of remember_session() before the migration ran
--
-- Call it outside of any block that still needs a setting.
create function ctx0_private.clean_session(p_before jsonb)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_command text;
  v_name    text;
  v_value   text;
begin
  foreach v_command in array
    -- Cursors first: a table that one still reads cannot be dropped.
    array['close all']
    || array(select format('deallocate %I', name) from pg_prepared_statements where from_sql)
    || array['discard sequences', 'unlisten *', 'discard temp', 'reset all']
  loop
    begin
      execute v_command;
    exception when others then
      null; -- Each fails alone.
    end;
  end loop;
  perform pg_advisory_unlock_all();
  for v_name, v_value in select s.key, s.value from jsonb_each_text(p_before -> 'settings') s loop
    begin
      if current_setting(v_name, true) is distinct from v_value then
        perform set_config(v_name, v_value, false);
      end if;
    exception when others then
      null;
    end;
  end loop;
  if (select count(*) from pg_prepared_statements where not from_sql) < (p_before ->> 'prepared')::bigint then
    perform set_config('idle_session_timeout', '1ms', false);
  end if;
end
$$;

comment on function ctx0_private.clean_session(jsonb) is
  'ctx0: removes settings, temporary tables, locks and the like that a migration left on the connection';
