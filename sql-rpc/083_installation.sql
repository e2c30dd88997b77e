-- installation(): the functions and tables of ctx0 in one text, which changes when a migration
-- drops or replaces one of them.
create function ctx0_private.installation()
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select string_agg(concat_ws(' ', o.id, o.row), ',' order by o.id)
      from (
        -- By what they depend on, for which there is an index: a database can have many functions.
        select p.oid::bigint as id, p.xmin::text as row
          from pg_depend d
          join pg_proc p on p.oid = d.objid
         where d.classid = 'pg_proc'::regclass
           and (d.refclassid = 'pg_namespace'::regclass and d.refobjid = 'ctx0_private'::regnamespace
                or d.refclassid = 'pg_type'::regclass and d.refobjid = 'ctx0_private.answer'::regtype)
        union all
        select c.oid, null
          from pg_class c
         where c.oid in ('public.ctx0_schema_versions'::regclass, 'ctx0_private.ctx0_schema_attempts'::regclass,
                         'ctx0_private.ctx0_schema_cancellations'::regclass, 'ctx0_private.ctx0_schema_outside'::regclass)
      ) o);
end
$$;

comment on function ctx0_private.installation() is
  'ctx0: its functions and tables in one text';
