-- clean_session(): takes back whatever a migration left on the connection.
--
-- PostgREST keeps its connections and gives them to the next request, of anyone.
-- A plain `set`, a temporary table, a session lock, a channel, a held cursor or a
-- prepared statement would go with them. `deallocate all` is not used because
-- PostgREST's own prepared statements live on the same connection.
--
-- Who may call it: only the functions of this folder, outside of any block that
-- still needs a setting.
create function ctx0_private.clean_session()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
begin
  -- All of them, because a table that a cursor still reads cannot be dropped.
  execute 'close all';
  for v_name in select name from pg_prepared_statements where from_sql loop
    execute format('deallocate %I', v_name);
  end loop;
  perform pg_advisory_unlock_all();
  execute 'discard sequences';
  execute 'unlisten *';
  execute 'discard temp';
  execute 'reset all';
end
$$;

comment on function ctx0_private.clean_session() is
  'ctx0: takes back settings, temporary tables, locks and the like that a migration left on the connection';
