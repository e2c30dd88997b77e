-- installed_in_public(): the objects of the installation in schema public, as (class, id): the
-- ledger, what belongs to its columns, and the functions that return ctx0_private.answer.
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
   where p.prorettype = 'ctx0_private.answer'::regtype;
$$;

comment on function ctx0_private.installed_in_public() is
  'ctx0: the objects of the installation in schema public';
