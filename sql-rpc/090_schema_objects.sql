-- schema_object, schema_objects(p_ours): every object with its definition.
--
-- Arguments
--   p_ours  true: what belongs to ctx0, which is all in schema public whose name begins with
--           "ctx0_", but for the installation itself;
--           false: everything that is not the system's or an extension's
--
-- Result: one row per object. Its definition is a list of parts, each as
--   {part, name, definition, id, flags}
-- with part one of: column, constraint, index, trigger, policy, rule, statistics, publication,
-- comment, grant, option, value, body. The id stays the same when a part is renamed; that of a
-- parent is its oid. Flags of a column: n (not null), d (has a default, an identity or is generated),
-- g (generated); of a policy: a, u (lets anon or authenticated through), r (restrictive: it limits
-- them); of the options of a view: i (security_invoker); of a function: s (security definer, and can
-- be called).
--
-- p_only: only these, where p_ours is false.
--
-- Equal schemas have equal definitions: the order follows from names and places, every name is
-- qualified, and the settings that change how PostgreSQL prints are fixed here. The expressions in
-- a definition stand between marks (see marked).
--
-- Not described: where and how data is kept (tablespaces, clustering, data itself), comments on
-- parts of tables other than columns, and casts, operators, collations and text search objects.
-- The owner is described only where it is not the role that runs migrations.
create type ctx0_private.schema_object as (
  class      oid,
  id         oid,
  kind       text,
  name       text,
  definition text[]
);

create function ctx0_private.schema_objects(p_ours boolean, p_only oid[] default null)
returns setof ctx0_private.schema_object
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
set quote_all_identifiers = off
set standard_conforming_strings = on
set lc_monetary = 'C'
set xmlbinary = 'base64'
-- Compiling or planning these queries each time would take longer than running them, and so would looking for a better
-- plan than the one in which they are written: each join is for a few rows, by an index.
set jit = off
set plan_cache_mode = force_generic_plan
set join_collapse_limit = 1
set enable_hashjoin = off
as $$
declare
  v_schemas   oid[];
  v_relations oid[];
  v_functions oid[];
  v_types     oid[];
  v_installed_relations oid[];
  v_installed_functions oid[];
begin
  if p_ours then
    select coalesce(array_agg(i.id) filter (where i.class = 'pg_class'::regclass), '{}'),
           coalesce(array_agg(i.id) filter (where i.class = 'pg_proc'::regclass), '{}')
      into v_installed_relations, v_installed_functions
      from ctx0_private.installed_in_public() i
     where i.id is not null;
    -- With a range of names, for which there is an index.
    v_schemas := array['public'::regnamespace];
    v_relations := array(
      select c.oid from pg_class c
       where c.relname >= 'ctx0_' and c.relname < 'ctx0`' and c.relnamespace = 'public'::regnamespace
         and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c') and c.oid <> all (v_installed_relations));
    v_functions := array(
      select p.oid from pg_proc p
       where p.proname >= 'ctx0_' and p.proname < 'ctx0`' and p.pronamespace = 'public'::regnamespace
         and p.oid <> all (v_installed_functions));
    v_types := array(
      select t.oid from pg_type t
       where t.typname >= 'ctx0_' and t.typname < 'ctx0`' and t.typnamespace = 'public'::regnamespace
         and t.typtype in ('e', 'd', 'r'));
  else
    v_schemas := array(
      select n.oid from pg_namespace n where n.nspname !~ '^pg_' and n.nspname <> 'information_schema');
    v_relations := array(
      select c.oid from pg_class c
       where c.relnamespace = any (v_schemas) and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c')
         and (p_only is null or c.oid in (select unnest(p_only))));
    v_functions := array(
      select p.oid from pg_proc p where p.pronamespace = any (v_schemas) and (p_only is null or p.oid in (select unnest(p_only))));
    v_types := array(
      select t.oid from pg_type t
       where t.typnamespace = any (v_schemas) and t.typtype in ('e', 'd', 'r') and (p_only is null or t.oid in (select unnest(p_only))));
  end if;

  if v_relations <> '{}' then
    -- Without what belongs to an extension, and the sequence of an identity column: it is described with the column.
    v_relations := array(
      select c.oid from pg_class c
       where c.oid = any (v_relations)
         and not exists (select from pg_depend d
                          where d.classid = 'pg_class'::regclass and d.objid = c.oid
                            and (d.deptype = 'e' or d.deptype = 'i' and c.relkind = 'S')));
  end if;
  if v_functions <> '{}' then
    -- And the constructors of a range type, which belong to the type.
    v_functions := array(
      select o from unnest(v_functions) o
       where not exists (select from pg_depend d
                          where d.classid = 'pg_proc'::regclass and d.objid = o and d.deptype in ('e', 'i')));
  end if;
  if v_types <> '{}' then
    v_types := array(
      select o from unnest(v_types) o
       where not exists (select from pg_depend d
                          where d.classid = 'pg_type'::regclass and d.objid = o and d.deptype = 'e'));
  end if;

  if v_relations <> '{}' then
    return query
    with relations as materialized (
      select c.*, format('%I.%I', n.nspname, c.relname) as name,
             case c.relkind when 'S' then 's'::"char" when 'c' then 'T' else 'r' end as acl_type,
             case when c.relkind = 'c' then coalesce(t.typacl, acldefault('T', t.typowner)) else c.relacl end as acl
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        left join pg_type t on t.oid = c.reltype
       where c.oid = any (v_relations)
    ), defined as (
      select p.object, array_agg(p.part order by p.rank, p.place, p.part[1] collate "C", p.part[2] collate "C") as definition
        from ctx0_private.relation_parts(p_relations => v_relations) p
       group by p.object
    ), granted as materialized (
      -- Most relations share a few access control lists, so each list is expanded once.
      select l.acl_type, l.acl, l.relowner, ctx0_private.grants(l.acl_type, l.acl, l.relowner) as parts
        from (select distinct r.acl_type, r.acl, r.relowner from relations r where r.acl is not null) l
    )
    select 'pg_class'::regclass::oid, r.oid,
           case r.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table'
                          when 'S' then 'sequence' when 'c' then 'type' else 'table' end,
           r.name, coalesce(d.definition, '{}') || coalesce(g.parts, '{}')
      from relations r
      left join defined d on d.object = r.oid
      left join granted g on g.acl_type = r.acl_type and g.acl = r.acl and g.relowner = r.relowner;
  end if;

  if v_functions <> '{}' then
    return query
    select 'pg_proc'::regclass::oid, p.oid,
           case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end,
           p.oid::regprocedure::text,
           case when p.proowner <> current_user::regrole
                then array[array['option', 'owner', p.proowner::regrole::text, null, null]] else '{}' end
           || array[array['body', null, d.definition, null,
                          case when p.prosecdef and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype) then 's' end]]
           || array(select array['comment', null, c.description, null, null]
                      from pg_description c
                     where c.classoid = 'pg_proc'::regclass and c.objoid = p.oid)
           || ctx0_private.grants('f', p.proacl, p.proowner)
      from pg_proc p
      join pg_namespace n on n.oid = p.pronamespace
      cross join lateral (
        select format('CREATE OR REPLACE %s %I.%I', case p.prokind when 'p' then 'PROCEDURE' else 'FUNCTION' end,
                      n.nspname, p.proname)) h (head)
      cross join lateral (
        select case
          when p.prokind = 'a' then (
            select concat_ws(' ', 'aggregate over', pg_get_function_arguments(p.oid), nullif(concat('parallel ', p.proparallel), 'parallel u'),
                             (select string_agg(x.key || ' ' || x.value, ' ' order by x.key)
                                from jsonb_each_text(to_jsonb(a) - 'aggfnoid' || jsonb_build_object(
                                       'aggtranstype', format_type(a.aggtranstype, null),
                                       'aggmtranstype', format_type(nullif(a.aggmtranstype, 0), null),
                                       'aggsortop', nullif(a.aggsortop, 0)::regoperator)) x
                               where x.key in ('agginitval', 'aggminitval') or x.value not in ('-', '0', 'false')))
              from pg_aggregate a
             where a.aggfnoid = p.oid)
          -- What begins after the name is parsed again as a whole.
          else h.head || chr(1) || substr(pg_get_functiondef(p.oid), length(h.head) + 1) || chr(2)
          end) d (definition)
     where p.oid = any (v_functions);
  end if;

  if v_types <> '{}' then
    return query
    with parts (object, rank, place, part) as (
      select t.oid, 0, 0, array['option', 'owner', t.typowner::regrole::text, null, null]
        from pg_type t
       where t.oid = any (v_types) and t.typowner <> current_user::regrole
      union all
      select t.oid, 1, 0, array['body', null, case t.typtype
               when 'd' then concat_ws(' ', 'domain over', format_type(t.typbasetype, t.typtypmod),
                 case when t.typcollation <> b.typcollation then 'collate ' || t.typcollation::regcollation::text end,
                 case when t.typnotnull then 'not null' end,
                 'default ' || chr(1) || pg_get_expr(t.typdefaultbin, 0) || chr(2))
               when 'r' then (
                 select concat_ws(' ', 'range over', format_type(g.rngsubtype, null), 'multirange', format_type(g.rngmultitypid, null),
                          'operators', o.opcnamespace::regnamespace::text || '.' || quote_ident(o.opcname),
                          'collate ' || nullif(g.rngcollation, 0)::regcollation::text,
                          'canonical ' || nullif(g.rngcanonical::oid, 0)::regproc::text,
                          'subtype_diff ' || nullif(g.rngsubdiff::oid, 0)::regproc::text)
                   from pg_range g
                   join pg_opclass o on o.oid = g.rngsubopc
                  where g.rngtypid = t.oid)
               else 'enum' end, null, null]
        from pg_type t
        left join pg_type b on b.oid = t.typbasetype
       where t.oid = any (v_types)
      union all
      select c.contypid, 2, 0, array['constraint', c.conname::text,
               ctx0_private.marked(pg_get_constraintdef(c.oid), array[pg_get_expr(c.conbin, 0)]), c.oid::text, null]
        from pg_constraint c
       where c.contypid = any (v_types) and c.contype = 'c'
      union all
      select e.enumtypid, 2, (rank() over (partition by e.enumtypid order by e.enumsortorder))::integer,
             array['value', e.enumlabel::text, '', e.oid::text, null]
        from pg_enum e
       where e.enumtypid = any (v_types)
      union all
      select d.objoid, 7, 0, array['comment', null, d.description, null, null]
        from pg_description d
       where d.classoid = 'pg_type'::regclass and d.objoid = any (v_types)
    ), defined as (
      select p.object, array_agg(p.part order by p.rank, p.place, p.part[2] collate "C") as definition
        from parts p
       group by p.object
    )
    select 'pg_type'::regclass::oid, t.oid, 'type', format('%I.%I', n.nspname, t.typname),
           d.definition || ctx0_private.grants('T', t.typacl, t.typowner)
      from pg_type t
      join pg_namespace n on n.oid = t.typnamespace
      join defined d on d.object = t.oid
     where t.oid = any (v_types);
  end if;

  if not p_ours then
    return query
    select 'pg_namespace'::regclass::oid, n.oid, 'schema', quote_ident(n.nspname),
           case when n.nspowner <> current_user::regrole
                then array[array['option', 'owner', n.nspowner::regrole::text, null, null]] else '{}' end
           || ctx0_private.grants('n', n.nspacl, n.nspowner)
      from pg_namespace n
     where n.oid = any (v_schemas) and (p_only is null or n.oid in (select unnest(p_only)))
    union all
    select 'pg_extension'::regclass::oid, e.oid, 'extension', quote_ident(e.extname) || ' ' || e.extversion, '{}'
      from pg_extension e
     where p_only is null or e.oid in (select unnest(p_only))
    union all
    -- What the roles of the public keys can do beyond grants.
    select 'pg_authid'::regclass::oid, r.oid, 'role', quote_ident(r.rolname), array(
             select array['option', o.name, '', null, null]
               from (
                 select 'a superuser' where r.rolsuper
                 union all
                 select 'exempt from row level security' where r.rolbypassrls
                 union all
                 select 'a member of ' || quote_ident(m.rolname)
                   from pg_roles m
                  where m.oid <> r.oid and not r.rolsuper and pg_has_role(r.oid, m.oid, 'member')
               ) o (name)
              order by o.name)
      from pg_roles r
     where r.rolname in ('anon', 'authenticated') and (p_only is null or r.oid in (select unnest(p_only)))
    union all
    select 'pg_default_acl'::regclass::oid, a.oid, 'default privileges',
           concat_ws(' ', 'of', a.defaclrole::regrole, 'in ' || nullif(a.defaclnamespace, 0)::regnamespace, 'for',
                     case a.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
                                          when 'T' then 'types' else 'schemas' end),
           ctx0_private.grants(a.defaclobjtype, a.defaclacl, a.defaclrole, p_is_default => true)
      from pg_default_acl a
     where p_only is null or a.oid in (select unnest(p_only));
  end if;
end
$$;

comment on type ctx0_private.schema_object is
  'ctx0: an object of the database with its definition';
comment on function ctx0_private.schema_objects(boolean, oid[]) is
  'ctx0: every object with its definition';
