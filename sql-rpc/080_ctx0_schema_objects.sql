-- ctx0_schema_object, ctx0_schema_objects(p_ours): every object with its definition.
--
-- Arguments
--   p_ours  true: what belongs to ctx0, which is all in schema public whose name begins with
--           "ctx0_", but for what the installation itself brings;
--           false: everything that is not the system's or an extension's
--
-- Result: one row an object. Its definition is a list of parts, each as
--   {part, name, definition, id, flags}
-- with part one of: column, constraint, index, trigger, policy, grant, option, value, body.
-- The id stays the same when a part is renamed. Flags of a column: n (not null), d (filled by
-- itself: a default, identity or generated). The order follows from names and places, and
-- every name in a definition is qualified, so that equal schemas have equal definitions.
--
-- Who may call it: only the functions of this folder.
create type public.ctx0_schema_object as (
  class      oid,
  id         oid,
  kind       text,
  name       text,
  definition text[]
);

create function public.ctx0_schema_objects(p_ours boolean)
returns setof public.ctx0_schema_object
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- Compiling this query would take longer than the query.
set jit = off
as $$
begin
  perform public.ctx0_check_caller();
  return query
  with schemas as materialized (
    select n.oid, n.nspname, n.nspowner, n.nspacl
      from pg_namespace n
     where case when p_ours then n.nspname = 'public'
                else n.nspname !~ '^pg_' and n.nspname <> 'information_schema' end
  ), members as materialized (
    select d.classid, d.objid from pg_depend d where d.deptype = 'e'
  ), relations as materialized (
    select c.*, format('%I.%I', n.nspname, c.relname) as name
      from pg_class c
      join schemas n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c')
       and (not p_ours or c.relname ^@ 'ctx0_' and c.relname not in (
              'ctx0_schema_versions', 'ctx0_schema_versions_id_seq', 'ctx0_schema_attempts', 'ctx0_schema_object'))
       and not exists (select from members m where m.classid = 'pg_class'::regclass and m.objid = c.oid)
  ), functions as materialized (
    select p.*
      from pg_proc p
      join schemas n on n.oid = p.pronamespace
     where (not p_ours or p.proname ^@ 'ctx0_' and p.proname not in (
              'ctx0_check_caller', 'ctx0_clean_session', 'ctx0_lock_holders', 'ctx0_is_intact',
              'ctx0_schema_objects', 'ctx0_describe_schema', 'ctx0_run_migration', 'ctx0_change_schema',
              'ctx0_apply_migration', 'ctx0_rollback_migration', 'ctx0_rehearse_migrations',
              'ctx0_observe_tables', 'ctx0_verify_schema', 'ctx0_schema_status'))
       and not exists (select from members m where m.classid = 'pg_proc'::regclass and m.objid = p.oid)
  ), types as materialized (
    select t.*, format('%I.%I', n.nspname, t.typname) as name
      from pg_type t
      join schemas n on n.oid = t.typnamespace
     where t.typtype in ('e', 'd', 'r') and (not p_ours or t.typname ^@ 'ctx0_')
       and not exists (select from members m where m.classid = 'pg_type'::regclass and m.objid = t.oid)
  ), acls as materialized (
    -- Most objects share a few lists of rights, so each list is taken apart once.
    select o.acl::text as acl, o.owner,
           array_agg(array['grant', g.role, g.privileges, null, null] order by g.role) as parts
      from (
        select relacl as acl, relowner as owner from relations
        union
        select coalesce(proacl, acldefault('f', proowner)), proowner from functions
        union
        select coalesce(typacl, acldefault('T', typowner)), typowner from types
        union
        select nspacl, nspowner from schemas
      ) o
      cross join lateral (
        select case a.grantee when 0 then 'public' else a.grantee::regrole::text end as role,
               string_agg(lower(a.privilege_type) || case when a.is_grantable then ' with grant option' else '' end,
                          ', ' order by a.privilege_type) as privileges
          from aclexplode(o.acl) a
         where a.grantee <> o.owner
         group by a.grantee
      ) g
     group by o.acl::text, o.owner
  ), parts (class, object, rank, place, part) as (
    select 'pg_class'::regclass, a.attrelid, 1, a.attnum::integer, array['column', a.attname::text,
             concat_ws(' ',
               format_type(a.atttypid, a.atttypmod),
               case when a.attcollation <> t.typcollation then 'collate ' || a.attcollation::regcollation::text end,
               case when a.attnotnull then 'not null' end,
               case when a.attgenerated = 's' then format('generated always as (%s) stored', pg_get_expr(d.adbin, d.adrelid))
                    when a.attgenerated <> '' then format('generated always as (%s) virtual', pg_get_expr(d.adbin, d.adrelid))
                    when a.attidentity = 'a' then 'generated always as identity'
                    when a.attidentity = 'd' then 'generated by default as identity'
                    when d.oid is not null then 'default ' || pg_get_expr(d.adbin, d.adrelid) end),
             a.attnum::text,
             concat(case when a.attnotnull then 'n' end,
                    case when d.oid is not null or a.attidentity <> '' then 'd' end)]
      from relations r
      join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
      join pg_type t on t.oid = a.atttypid
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where r.relkind <> 'S'
    union all
    select 'pg_class'::regclass, a.attrelid, 7, a.attnum::integer,
           array['grant', format('%s (%I)', g.role, a.attname), g.privileges, null, null]
      from relations r
      join pg_attribute a on a.attrelid = r.oid and a.attacl is not null and not a.attisdropped
      cross join lateral (
        select case x.grantee when 0 then 'public' else x.grantee::regrole::text end as role,
               string_agg(lower(x.privilege_type), ', ' order by x.privilege_type) as privileges
          from aclexplode(a.attacl) x
         group by x.grantee
      ) g
    union all
    select 'pg_class'::regclass, c.conrelid, 2, 0,
           array['constraint', c.conname::text, pg_get_constraintdef(c.oid), c.oid::text, null]
      from relations r
      join pg_constraint c on c.conrelid = r.oid
     -- Since PostgreSQL 18 `not null` is a constraint too; here it stays with its column.
     where c.contype in ('c', 'f', 'p', 'u', 'x')
    union all
    select 'pg_class'::regclass, i.indrelid, 3, 0,
           array['index', c.relname::text,
                 concat(case when i.indisunique then 'unique ' end, substr(i.definition, strpos(i.definition, ' USING ') + 1),
                        case when not i.indisvalid then ' (invalid)' end),
                 c.oid::text, null]
      from relations r
      join lateral (
        select x.indrelid, x.indexrelid, x.indisunique, x.indisvalid, pg_get_indexdef(x.indexrelid) as definition
          from pg_index x
         where x.indrelid = r.oid
           -- That of a constraint is told with the constraint.
           and not exists (select from pg_depend d
                            where d.classid = 'pg_class'::regclass and d.objid = x.indexrelid
                              and d.refclassid = 'pg_constraint'::regclass and d.deptype = 'i')
      ) i on true
      join pg_class c on c.oid = i.indexrelid
    union all
    select 'pg_class'::regclass, t.tgrelid, 4, 0,
           array['trigger', t.tgname::text,
                 pg_get_triggerdef(t.oid) || case t.tgenabled when 'O' then '' when 'D' then ' (disabled)'
                                                              else ' (enabled ' || t.tgenabled::text || ')' end,
                 t.oid::text, null]
      from relations r
      join pg_trigger t on t.tgrelid = r.oid and not t.tgisinternal
    union all
    select 'pg_class'::regclass, p.polrelid, 5, 0,
           array['policy', p.polname::text,
                 concat_ws(' ',
                   case when not p.polpermissive then 'restrictive' end,
                   'for ' || case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
                                           when 'd' then 'delete' else 'all' end,
                   'to ' || (select string_agg(case o when 0 then 'public' else o::regrole::text end, ', ' order by o::regrole::text)
                               from unnest(p.polroles) o),
                   'using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
                   'with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'),
                 p.oid::text, null]
      from relations r
      join pg_policy p on p.polrelid = r.oid
    union all
    select 'pg_class'::regclass, r.oid, 0, 0, o.part
      from relations r
      cross join lateral (values
        (array['option', 'row level security',
               case when r.relforcerowsecurity then 'forced' else 'on' end, null, null], r.relrowsecurity),
        (array['option', 'unlogged', '', null, null], r.relpersistence = 'u'),
        (array['option', 'with', array_to_string(r.reloptions, ', '), null, null], r.reloptions is not null),
        (array['option', 'partition by', case when r.relkind = 'p' then pg_get_partkeydef(r.oid) end, null, null], r.relkind = 'p'),
        (array['option', 'partition', case when r.relispartition then pg_get_expr(r.relpartbound, r.oid) end, null, null], r.relispartition),
        (array['body', null, case when r.relkind in ('v', 'm') then pg_get_viewdef(r.oid) end, null, null], r.relkind in ('v', 'm'))
      ) o (part, holds)
     where o.holds
    union all
    select 'pg_class'::regclass, s.seqrelid, 1, 0,
           array['body', null, format('as %s start %s increment %s minvalue %s maxvalue %s cache %s%s', format_type(s.seqtypid, null),
                   s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, case when s.seqcycle then ' cycle' end), null, null]
      from relations r
      join pg_sequence s on s.seqrelid = r.oid
    union all
    select 'pg_proc'::regclass, p.oid, 1, 0,
           array['body', null, case when p.prokind in ('f', 'p') then pg_get_functiondef(p.oid)
                                    else 'aggregate over ' || pg_get_function_arguments(p.oid) end, null, null]
      from functions p
    union all
    select 'pg_type'::regclass, t.oid, 1, 0,
           array['body', null, case t.typtype when 'd' then concat_ws(' ', 'domain over', format_type(t.typbasetype, t.typtypmod),
                   case when t.typnotnull then 'not null' end, 'default ' || t.typdefault)
                   when 'r' then 'range over ' || (select format_type(g.rngsubtype, null) from pg_range g where g.rngtypid = t.oid)
                   else 'enum' end, null, null]
      from types t
    union all
    select 'pg_type'::regclass, c.contypid, 2, 0,
           array['constraint', c.conname::text, pg_get_constraintdef(c.oid), c.oid::text, null]
      from types t
      join pg_constraint c on c.contypid = t.oid and c.contype = 'c'
    union all
    select 'pg_type'::regclass, e.enumtypid, 2, (rank() over (partition by e.enumtypid order by e.enumsortorder))::integer,
           array['value', e.enumlabel::text, '', e.oid::text, null]
      from types t
      join pg_enum e on e.enumtypid = t.oid
  ), objects (class, id, kind, name, acl, owner) as (
    select 'pg_class'::regclass, r.oid,
           case r.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table'
                          when 'S' then 'sequence' when 'c' then 'type' else 'table' end,
           r.name, r.relacl, r.relowner
      from relations r
     -- The sequence of an identity column is told with the column, and has no rights of its own.
     where r.relkind <> 'S' or not exists (
             select from pg_depend d
              where d.classid = 'pg_class'::regclass and d.objid = r.oid and d.deptype = 'i')
    union all
    select 'pg_proc'::regclass, p.oid, case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end,
           p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner
      from functions p
    union all
    select 'pg_type'::regclass, t.oid, 'type', t.name, coalesce(t.typacl, acldefault('T', t.typowner)), t.typowner
      from types t
    union all
    select 'pg_namespace'::regclass, n.oid, 'schema', quote_ident(n.nspname), n.nspacl, n.nspowner
      from schemas n
     where not p_ours
    union all
    select 'pg_extension'::regclass, e.oid, 'extension', quote_ident(e.extname) || ' ' || e.extversion, null, null
      from pg_extension e
     where not p_ours
  ), defined as (
    select p.class, p.object, array_agg(p.part order by p.rank, p.place, p.part[2] collate "C") as definition
      from parts p
     group by p.class, p.object
  )
  select o.class::oid, o.id, o.kind, o.name, coalesce(d.definition, '{}') || coalesce(a.parts, '{}')
    from objects o
    left join defined d on d.class = o.class and d.object = o.id
    left join acls a on a.acl = o.acl::text and a.owner = o.owner;
end
$$;

comment on type public.ctx0_schema_object is
  'ctx0: an object of the database with its definition';
comment on function public.ctx0_schema_objects(boolean) is
  'ctx0: every object with its definition';
revoke all on type public.ctx0_schema_object from public, anon, authenticated, service_role;
revoke all on function public.ctx0_schema_objects(boolean) from public, anon, authenticated, service_role;
