-- event_triggers(): the event triggers that the commands of ctx0_private.reprint would
-- run now, or null. Supabase's own do not count: they are a superuser's, in schema extensions, and
-- tell PostgREST of changes.
create function ctx0_private.event_triggers()
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select string_agg(quote_ident(e.evtname), ', ' order by e.evtname)
      from pg_event_trigger e
      join pg_proc p on p.oid = e.evtfoid
      join pg_namespace n on n.oid = p.pronamespace
      join pg_roles o on o.oid = p.proowner
     where e.evtevent in ('ddl_command_start', 'ddl_command_end')
       and (e.evttags is null
            or e.evttags && '{CREATE VIEW,CREATE FUNCTION,CREATE PROCEDURE,CREATE TABLE,CREATE RULE}')
       and e.evtenabled in ('A', case current_setting('session_replication_role') when 'replica' then 'R' else 'O' end)
       -- Since PostgreSQL 17.
       and current_setting('event_triggers', true) is distinct from 'off'
       and not (n.nspname = 'extensions' and o.rolsuper)
  );
end
$$;

comment on function ctx0_private.event_triggers() is
  'ctx0: the event triggers that comparing definitions would run';
