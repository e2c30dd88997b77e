-- Hands everything to `postgres` where a superuser installed it, as the SQL endpoint of
-- older self-hosted stacks does: migrations run as the owner of these functions, and that
-- must not be a superuser. Then every privilege of every other role is revoked, whatever default
-- privileges have granted, and the service role gets the few that it needs.
do $$
declare
  v_owner  text := current_user;
  v_object record;
  v_role   text;
begin
  if (select rolsuper from pg_catalog.pg_roles where rolname = current_user)
     and exists (select from pg_catalog.pg_roles where rolname = 'postgres') then
    v_owner := 'postgres';
  end if;
  for v_object in
    select 'schema' as kind, 'ctx0_private' as name, n.nspowner as owner, n.nspacl as acl, false as is_sequence
      from pg_catalog.pg_namespace n
     where n.nspname = 'ctx0_private'
    union all
    select case c.relkind when 'S' then 'sequence' else 'table' end, c.oid::pg_catalog.regclass::text, c.relowner, c.relacl,
           c.relkind = 'S'
      from pg_catalog.pg_class c
     where (c.relnamespace = 'ctx0_private'::pg_catalog.regnamespace and c.relkind = 'r')
        or c.oid in ('public.ctx0_schema_versions'::pg_catalog.regclass,
                     pg_catalog.pg_get_serial_sequence('public.ctx0_schema_versions', 'id')::pg_catalog.regclass)
    union all
    select 'type', t.oid::pg_catalog.regtype::text, t.typowner, coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner)), false
      from pg_catalog.pg_type t
      left join pg_catalog.pg_class c on c.oid = t.typrelid
     where t.typnamespace = 'ctx0_private'::pg_catalog.regnamespace and (t.typtype = 'd' or c.relkind = 'c')
    union all
    select 'function', p.oid::pg_catalog.regprocedure::text, p.proowner,
           coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)), false
      from pg_catalog.pg_proc p
     where p.pronamespace = 'ctx0_private'::pg_catalog.regnamespace
        or p.prorettype = 'ctx0_private.answer'::pg_catalog.regtype
  loop
    -- A sequence goes with the table of its column.
    if v_object.owner <> v_owner::pg_catalog.regrole and not v_object.is_sequence then
      execute pg_catalog.format('alter %s %s owner to %I', v_object.kind, v_object.name, v_owner);
    end if;
    for v_role in
      select distinct case a.grantee when 0 then 'public' else a.grantee::pg_catalog.regrole::text end
        from pg_catalog.aclexplode(v_object.acl) a
       where a.grantee not in (v_object.owner, v_owner::pg_catalog.regrole)
    loop
      execute pg_catalog.format('revoke all on %s %s from %s cascade', v_object.kind, v_object.name, v_role);
    end loop;
    if v_object.kind = 'function' and v_object.name !~ '^ctx0_private\.' then
      execute pg_catalog.format('grant execute on function %s to service_role', v_object.name);
    end if;
  end loop;
end
$$;

grant select on table public.ctx0_schema_versions to service_role;
