-- remember_session(): the state of the connection that clean_session() has to restore, as
--   settings  {name: value}: what the connection itself has set. PostgREST sets its encoding and
--             message level so, once for each connection.
--   prepared  how many statements the client has prepared
--
-- Settings for one request only are left out: those of the function, of the role, and the path.
create function ctx0_private.remember_session()
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_build_object(
      'settings', (
        select coalesce(jsonb_object_agg(s.name, s.setting), '{}')
          from pg_settings s
         where s.source = 'session' and s.setting is distinct from s.reset_val and s.context in ('user', 'superuser')
           and s.name !~ '^transaction_' and lower(s.name) not in ('role', 'session_authorization', 'search_path', 'timezone')
           and s.name not in (
                 select split_part(c.setting, '=', 1)
                   from (select unnest(p.proconfig)
                           from pg_depend d
                           join pg_proc p on p.oid = d.objid
                          where d.refclassid = 'pg_type'::regclass and d.refobjid = 'ctx0_private.answer'::regtype
                            and d.classid = 'pg_proc'::regclass
                         union all
                         select unnest(r.setconfig) from pg_db_role_setting r
                          where r.setrole = to_regrole(quote_ident(current_setting('role')))) c (setting))),
      'prepared', (select count(*) from pg_prepared_statements where not from_sql)));
end
$$;

comment on function ctx0_private.remember_session() is
  'ctx0: the state of the connection that must be restored after a migration';
