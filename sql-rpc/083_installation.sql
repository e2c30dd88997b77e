-- installation(): the functions and tables of ctx0 in one text, which changes when a migration
-- drops or replaces one of them.
create function ctx0_private.installation()
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(concat_ws(' ', o.id, o.row), ',' order by o.id)
    from (
      select p.oid::bigint as id, p.xmin::text as row
        from pg_proc p
       where p.pronamespace = 'ctx0_private'::regnamespace or p.prorettype = 'ctx0_private.answer'::regtype
      union all
      select c.oid, null
        from pg_class c
       where c.oid in ('public.ctx0_schema_versions'::regclass, 'ctx0_private.ctx0_schema_attempts'::regclass)
    ) o;
$$;

comment on function ctx0_private.installation() is
  'ctx0: its functions and tables in one text';
