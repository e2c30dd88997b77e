-- Takes away the functions of any earlier release, whatever their arguments,
-- so that none of them is left beside its successor as an overload: PostgREST
-- cannot choose between overloads that take the same named arguments.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid
      from pg_catalog.pg_proc p
     where p.pronamespace = 'public'::pg_catalog.regnamespace
       and p.proname in (
         'ctx0_check_caller', 'ctx0_clean_session', 'ctx0_lock_holders', 'ctx0_is_intact',
         'ctx0_schema_objects', 'ctx0_describe_schema', 'ctx0_catalog_writes', 'ctx0_run_migration', 'ctx0_change_schema',
         'ctx0_apply_migration', 'ctx0_rollback_migration', 'ctx0_rehearse_migrations',
         'ctx0_observe_tables', 'ctx0_verify_schema', 'ctx0_schema_status'
       )
  loop
    execute pg_catalog.format('drop function %s', v_function);
  end loop;
  drop type if exists public.ctx0_schema_object;
end
$$;
