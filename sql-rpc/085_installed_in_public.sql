-- installed_in_public(): the objects of the installation in schema public, as (class, id): the
-- ledger, what belongs to its columns, the functions that return ctx0_private.answer, and the
-- helpers that release 2 had in public: pasting one of them again is no change of the schema.
create function ctx0_private.installed_in_public()
returns table (class oid, id oid)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select 'pg_class'::regclass::oid, to_regclass('public.ctx0_schema_versions')::oid
  union all
  select d.classid, d.objid
    from pg_depend d
   where d.refclassid = 'pg_class'::regclass and d.refobjid = to_regclass('public.ctx0_schema_versions')
     and d.deptype in ('a', 'i')
  union all
  select 'pg_proc'::regclass, p.oid
    from pg_proc p
   where p.pronamespace = 'public'::regnamespace
     -- A range of names, so that the index on them can be used.
     and p.proname >= 'ctx0_' and p.proname < 'ctx0`'
     and (p.prorettype = 'ctx0_private.answer'::regtype or p.proname in (
           'ctx0_check_caller', 'ctx0_clean_session', 'ctx0_lock_holders', 'ctx0_is_intact', 'ctx0_schema_objects',
           'ctx0_describe_schema', 'ctx0_catalog_writes', 'ctx0_run_migration', 'ctx0_change_schema', 'ctx0_observe_tables'));
$$;

comment on function ctx0_private.installed_in_public() is
  'ctx0: the objects of the installation in schema public';
