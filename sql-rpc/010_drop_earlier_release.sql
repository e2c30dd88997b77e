-- Drops the functions and types of any earlier release; the tables stay. An old
-- function must not remain beside its successor as an overload: PostgREST cannot
-- choose between overloads that take the same named arguments. The domain
-- ctx0_private.answer stays too: ctx0_upgrade returns it while this script runs in it.
--
-- Ours are all functions and types in ctx0_private, and the functions in public
-- that return ctx0_private.answer. Release 2 had everything in public, each object
-- with a comment that begins with "ctx0: ".
do $$
declare
  v_command text;
begin
  for v_command in
    select pg_catalog.format('drop function %s', p.oid::pg_catalog.regprocedure)
      from pg_catalog.pg_proc p
     where p.pronamespace = pg_catalog.to_regnamespace('ctx0_private')
        or p.prorettype = pg_catalog.to_regtype('ctx0_private.answer')
        or (p.pronamespace = 'public'::pg_catalog.regnamespace and p.proname ^@ 'ctx0_'
            and pg_catalog.obj_description(p.oid, 'pg_proc') ^@ 'ctx0: ')
  loop
    execute v_command;
  end loop;
  for v_command in
    select pg_catalog.format('drop type %s', t.oid::pg_catalog.regtype)
      from pg_catalog.pg_type t
      left join pg_catalog.pg_class c on c.oid = t.typrelid
     where (t.typtype = 'd' or c.relkind = 'c') and t.oid is distinct from pg_catalog.to_regtype('ctx0_private.answer')
       and (t.typnamespace = pg_catalog.to_regnamespace('ctx0_private')
            or (t.typnamespace = 'public'::pg_catalog.regnamespace and t.typname ^@ 'ctx0_'
                and pg_catalog.obj_description(t.oid, 'pg_type') ^@ 'ctx0: '))
  loop
    execute v_command;
  end loop;
end
$$;
