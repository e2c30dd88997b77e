-- Hands everything to `postgres` where a superuser installed it, as the SQL
-- endpoint of older self-hosted stacks does: migrations run as the owner of these
-- functions, and that must not be a superuser. Then PostgREST is told.
do $$
declare
  v_object text;
begin
  if current_user <> 'postgres' and exists (select from pg_catalog.pg_roles where rolname = 'postgres') then
    for v_object in
      select pg_catalog.format('table %s', c.oid::regclass)
        from pg_catalog.pg_class c
       where c.oid in ('public.ctx0_schema_versions'::regclass, 'public.ctx0_schema_attempts'::regclass)
      union all
      select 'type public.ctx0_schema_object'
      union all
      select pg_catalog.format('function %s', p.oid::regprocedure)
        from pg_catalog.pg_proc p
       where p.pronamespace = 'public'::regnamespace
         and p.proname in (
               'ctx0_check_caller', 'ctx0_clean_session', 'ctx0_lock_holders', 'ctx0_is_intact',
               'ctx0_schema_objects', 'ctx0_describe_schema', 'ctx0_run_migration', 'ctx0_change_schema',
               'ctx0_apply_migration', 'ctx0_rollback_migration', 'ctx0_rehearse_migrations',
               'ctx0_observe_tables', 'ctx0_verify_schema', 'ctx0_schema_status')
    loop
      execute pg_catalog.format('alter %s owner to postgres', v_object);
    end loop;
  end if;
end
$$;

notify pgrst, 'reload schema';
