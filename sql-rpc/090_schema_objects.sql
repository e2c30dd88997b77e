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
-- comment, grant, option, value, body. The id stays the same when a part is renamed. Flags of a
-- column: n (not null), d (has a default, an identity or is generated), g (generated); of a
-- policy: a, u (lets anon or authenticated through); of the options of a view: i (security_invoker);
-- of a function: s (security definer, and can be called).
--
-- p_only: only these.
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
-- Compiling or planning these queries each time would take longer than running them.
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_schemas   oid[];
  v_relations oid[];
  v_functions oid[];
  v_types     oid[];
begin
  if p_ours then
    -- With a range of names, for which there is an index.
    v_schemas := array['public'::regnamespace];
    v_relations := array(
      select c.oid from pg_class c
       where c.relname >= 'ctx0_' and c.relname < 'ctx0`' and c.relnamespace = 'public'::regnamespace
         and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c')
      except
      select i.id from ctx0_private.installed_in_public() i where i.class = 'pg_class'::regclass);
    v_functions := array(
      select p.oid from pg_proc p
       where p.proname >= 'ctx0_' and p.proname < 'ctx0`' and p.pronamespace = 'public'::regnamespace
      except
      select i.id from ctx0_private.installed_in_public() i where i.class = 'pg_proc'::regclass);
    v_types := array(
      select t.oid from pg_type t
       where t.typname >= 'ctx0_' and t.typname < 'ctx0`' and t.typnamespace = 'public'::regnamespace
         and t.typtype in ('e', 'd', 'r'));
  else
    v_schemas := array(
      select n.oid from pg_namespace n where n.nspname !~ '^pg_' and n.nspname <> 'information_schema');
    v_relations := array(
      select c.oid from pg_class c
       where c.relnamespace = any (v_schemas) and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c'));
    v_functions := array(select p.oid from pg_proc p where p.pronamespace = any (v_schemas));
    v_types := array(
      select t.oid from pg_type t where t.typnamespace = any (v_schemas) and t.typtype in ('e', 'd', 'r'));
  end if;
  -- Without what belongs to an extension, and the constructors of a range type, which belong to the type.
  v_relations := array(
    select o from unnest(v_relations) o
     where (p_only is null or o in (select unnest(p_only)))
       and not exists (select from pg_depend d
                        where d.classid = 'pg_class'::regclass and d.objid = o and d.deptype = 'e'));
  v_functions := array(
    select o from unnest(v_functions) o
     where (p_only is null or o in (select unnest(p_only)))
       and not exists (select from pg_depend d
                        where d.classid = 'pg_proc'::regclass and d.objid = o and d.deptype in ('e', 'i')));
  v_types := array(
    select o from unnest(v_types) o
     where (p_only is null or o in (select unnest(p_only)))
       and not exists (select from pg_depend d
                        where d.classid = 'pg_type'::regclass and d.objid = o and d.deptype = 'e'));

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
    ), parts (object, rank, place, part) as (
      select r.oid, 0, 0, array['option', o.name, o.value, null,
               case when o.name = 'with' then (
                 select 'i' from pg_options_to_table(r.reloptions) x
                  where x.option_name = 'security_invoker' and x.option_value::boolean) end]
        from relations r
        cross join lateral (values
          ('owner', case when r.relowner <> current_user::regrole then r.relowner::regrole::text end),
          ('row level security', case when not r.relrowsecurity then null when r.relforcerowsecurity then 'forced' else 'on' end),
          ('force row level security', case when r.relforcerowsecurity and not r.relrowsecurity then 'on' end),
          ('unlogged', case when r.relpersistence = 'u' then '' end),
          ('of', case when r.reloftype <> 0 then r.reloftype::regtype::text end),
          ('with', ctx0_private.sorted(r.reloptions)),
          ('replica identity', case r.relreplident when 'f' then 'full' when 'n' then 'nothing' when 'i' then (
             select 'index ' || quote_ident(c.relname)
               from pg_index i
               join pg_class c on c.oid = i.indexrelid
              where i.indrelid = r.oid and i.indisreplident) end)
        ) o (name, value)
       where o.value is not null
      union all
      select r.oid, 0, 0, array['option', 'using', quote_ident(m.amname), null, null]
        from relations r
        join pg_am m on m.oid = r.relam
       where m.amname <> 'heap'
      union all
      select r.oid, 0, 0, array['option', 'with toast', ctx0_private.sorted(t.reloptions), null, null]
        from relations r
        join pg_class t on t.oid = r.reltoastrelid
       where t.reloptions is not null
      union all
      select p.partrelid, 0, 0, array['option', 'partition by',
               case when p.partexprs is null then pg_get_partkeydef(p.partrelid)
                    else ctx0_private.marked(pg_get_partkeydef(p.partrelid), array[pg_get_expr(p.partexprs, p.partrelid)]) end, null, null]
        from pg_partitioned_table p
       where p.partrelid = any (v_relations)
      union all
      select i.inhrelid, 0, i.inhseqno, array['option', case when r.relispartition then 'partition of' else 'inherits' end,
               concat_ws(' ', i.inhparent::regclass, pg_get_expr(r.relpartbound, r.oid),
                         case when i.inhdetachpending then '(being detached)' end), null, null]
        from pg_inherits i
        join relations r on r.oid = i.inhrelid
      union all
      select f.ftrelid, 0, 0, array['option', 'server', concat_ws(' ', quote_ident(s.srvname), ctx0_private.sorted(f.ftoptions)), null, null]
        from pg_foreign_table f
        join pg_foreign_server s on s.oid = f.ftserver
       where f.ftrelid = any (v_relations)
      union all
      select r.oid, 1, 0, array['body', null, chr(1) || d.query || chr(2), null, null]
        from relations r
        cross join lateral (select case when r.relkind in ('v', 'm') then pg_get_viewdef(r.oid) end) d (query)
       where d.query is not null
      union all
      select s.seqrelid, 1, 0, array['body', null, concat_ws(' ',
               format('as %s start %s increment %s minvalue %s maxvalue %s cache %s', format_type(s.seqtypid, null),
                      s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache),
               case when s.seqcycle then 'cycle' end,
               (select format('owned by %s.%I', d.refobjid::regclass, a.attname)
                  from pg_depend d
                  join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                 where d.classid = 'pg_class'::regclass and d.objid = s.seqrelid
                   and d.refclassid = 'pg_class'::regclass and d.deptype = 'a')), null, null]
        from pg_sequence s
       where s.seqrelid = any (v_relations)
      union all
      select a.attrelid, 1, a.attnum::integer, array['column', a.attname::text, concat_ws(' ',
               format_type(a.atttypid, a.atttypmod),
               case when a.attcollation <> t.typcollation then 'collate ' || a.attcollation::regcollation::text end,
               case when a.attstorage <> t.typstorage then 'storage ' || case a.attstorage
                         when 'p' then 'plain' when 'e' then 'external' when 'm' then 'main' else 'extended' end end,
               case a.attcompression when 'p' then 'compression pglz' when 'l' then 'compression lz4' end,
               'statistics ' || nullif(a.attstattarget, -1),
               'with (' || ctx0_private.sorted(a.attoptions) || ')',
               'options (' || ctx0_private.sorted(a.attfdwoptions) || ')',
               case when a.attnotnull then 'not null' end,
               case when a.attgenerated <> '' then format('generated always as (%s) %s', e.marked,
                         case a.attgenerated when 's' then 'stored' else 'virtual' end)
                    -- Since PostgreSQL 17 a partition has the identity of its table.
                    when a.attidentity <> '' and not r.relispartition
                    then format('generated %s as identity%s', case a.attidentity when 'a' then 'always' else 'by default' end, i.options)
                    when e.marked is not null then 'default ' || e.marked end),
               a.attnum::text,
               concat(case when a.attnotnull then 'n' end,
                      case when d.oid is not null or a.attidentity <> '' then 'd' end,
                      case when a.attgenerated <> '' then 'g' end)]
        from relations r
        join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
        join pg_type t on t.oid = a.atttypid
        left join pg_attrdef d on a.atthasdef and d.adrelid = a.attrelid and d.adnum = a.attnum
        left join lateral (select pg_get_expr(d.adbin, d.adrelid)) x (expression) on true
        left join lateral (select chr(1) || x.expression || chr(2)) e (marked) on true
        left join lateral (
          select ' (' || nullif(concat_ws(' ',
                   case when s.seqstart <> case when s.seqincrement > 0 then s.seqmin else s.seqmax end then 'start ' || s.seqstart end,
                   case when s.seqincrement <> 1 then 'increment ' || s.seqincrement end,
                   case when s.seqmin <> case when s.seqincrement > 0 then 1 else -b.most - 1 end then 'minvalue ' || s.seqmin end,
                   case when s.seqmax <> case when s.seqincrement > 0 then b.most else -1 end then 'maxvalue ' || s.seqmax end,
                   case when s.seqcache <> 1 then 'cache ' || s.seqcache end,
                   case when s.seqcycle then 'cycle' end), '') || ')'
            from pg_depend y
            join pg_sequence s on s.seqrelid = y.objid
           cross join lateral (
             select case s.seqtypid when 'bigint'::regtype then 9223372036854775807
                                    when 'integer'::regtype then 2147483647 else 32767 end) b (most)
           where a.attidentity <> ''
             and y.refclassid = 'pg_class'::regclass and y.refobjid = a.attrelid and y.refobjsubid = a.attnum
             and y.classid = 'pg_class'::regclass and y.deptype = 'i'
        ) i (options) on true
       where r.relkind <> 'S'
      union all
      select c.conrelid, 2, 0, array['constraint', c.conname::text,
               case c.contype
                 when 'c' then ctx0_private.marked(d.definition, array[pg_get_expr(c.conbin, c.conrelid)])
                 when 'x' then ctx0_private.marked(d.definition, ctx0_private.index_expressions(c.conindid))
                 else d.definition end
               || case when c.contype = 'f' and exists (
                    select from pg_trigger t where t.tgconstraint = c.oid and t.tgenabled <> 'O') then ' (disabled)' else '' end,
               c.oid::text, null]
        from pg_constraint c
        cross join lateral (select pg_get_constraintdef(c.oid)) d (definition)
       where c.conrelid = any (v_relations)
         -- Since PostgreSQL 18 `not null` is a constraint too; here it stays with its column.
         and c.contype in ('c', 'f', 'p', 'u', 'x')
         -- A foreign key to a partitioned table has a copy for each partition.
         and (c.conparentid = 0 or not exists (
               select from pg_constraint p where p.oid = c.conparentid and p.conrelid = c.conrelid))
      union all
      select i.indrelid, 3, 0, array['index', c.relname::text, concat(
               case when i.indisunique then 'unique ' end,
               substr(d.definition, strpos(d.definition, ' USING ') + 1),
               case when not i.indisvalid then ' (invalid)' end), c.oid::text, null]
        from pg_index i
        join pg_class c on c.oid = i.indexrelid
        cross join lateral (
          select case when i.indexprs is null and i.indpred is null then pg_get_indexdef(c.oid)
                      else ctx0_private.marked(pg_get_indexdef(c.oid), ctx0_private.index_expressions(c.oid)) end) d (definition)
       where i.indrelid = any (v_relations)
         -- The index of a constraint is described with the constraint.
         and not exists (select from pg_depend d
                          where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                            and d.refclassid = 'pg_constraint'::regclass and d.deptype = 'i')
      union all
      select t.tgrelid, 4, 0, array['trigger', t.tgname::text,
               case when t.tgqual is null then d.definition
                    else ctx0_private.marked(d.definition, regexp_match(d.definition, '.{35,} WHEN \((.+)\) EXECUTE FUNCTION')) end
               || case t.tgenabled when 'O' then '' when 'D' then ' (disabled)'
                                   when 'R' then ' (enabled replica)' else ' (enabled always)' end,
               t.oid::text, null]
        from pg_trigger t
        cross join lateral (select pg_get_triggerdef(t.oid)) d (definition)
       where t.tgrelid = any (v_relations) and not t.tgisinternal
      union all
      select p.polrelid, 5, 0, array['policy', p.polname::text, concat_ws(' ',
               case when not p.polpermissive then 'restrictive' end,
               'for ' || case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
                                       when 'd' then 'delete' else 'all' end,
               'to ' || (select string_agg(case o when 0 then 'public' else o::regrole::text end, ', ' order by o::regrole::text)
                           from unnest(p.polroles) o),
               'using (' || chr(1) || u.expression || chr(2) || ')',
               'with check (' || chr(1) || w.expression || chr(2) || ')'), p.oid::text,
               case when p.polpermissive and coalesce(u.expression, w.expression) <> 'false' then
                 concat(case when p.polroles && array[0, to_regrole('anon')::oid] then 'a' end,
                        case when p.polroles && array[0, to_regrole('authenticated')::oid] then 'u' end) end]
        from pg_policy p
        cross join lateral (select pg_get_expr(p.polqual, p.polrelid)) u (expression)
        cross join lateral (select pg_get_expr(p.polwithcheck, p.polrelid)) w (expression)
       where p.polrelid = any (v_relations)
      union all
      -- What begins after the name of the table is parsed again as a whole.
      select w.ev_class, 6, 0, array['rule', w.rulename::text, concat(
               'on ', case w.ev_type when '2' then 'update' when '3' then 'insert' else 'delete' end,
               chr(1) || d.action || chr(2),
               case w.ev_enabled when 'O' then '' when 'D' then ' (disabled)'
                                   when 'R' then ' (enabled replica)' else ' (enabled always)' end),
               w.oid::text, null]
        from pg_rewrite w
        join relations r on r.oid = w.ev_class
        cross join lateral (
          select rtrim(substr(r.definition, strpos(r.definition, ' TO ' || r.name) + length(' TO ' || r.name)), ';')
            from (select pg_get_ruledef(w.oid), r.name) r (definition, name)) d (action)
       where w.rulename <> '_RETURN'
      union all
      select s.stxrelid, 6, 0, array['statistics', s.stxname::text, concat_ws(' ',
               '(' || array_to_string(s.stxkind, ', ') || ') on',
               (select string_agg(quote_ident(a.attname), ', ' order by k.place)
                  from unnest(s.stxkeys) with ordinality k (attnum, place)
                  join pg_attribute a on a.attrelid = s.stxrelid and a.attnum = k.attnum),
               (select string_agg('(' || chr(1) || x || chr(2) || ')', ', ' order by o)
                  from unnest(pg_get_statisticsobjdef_expressions(s.oid)) with ordinality e (x, o)),
               'target ' || nullif(s.stxstattarget, -1)), s.oid::text, null]
        from pg_statistic_ext s
       where s.stxrelid = any (v_relations)
      union all
      select m.relation, 6, 0, array['publication', b.pubname::text, concat_ws(', ',
               m.what,
               'without ' || nullif(concat_ws(', ',
                 case when not b.pubinsert then 'insert' end, case when not b.pubupdate then 'update' end,
                 case when not b.pubdelete then 'delete' end, case when not b.pubtruncate then 'truncate' end), ''),
               case when b.pubviaroot then 'via root' end), null, null]
        from pg_publication b
        join (
          select p.prpubid as publication, p.prrelid as relation, concat_ws(' ', 'table',
                   (select '(' || string_agg(quote_ident(a.attname), ', ' order by a.attnum) || ')'
                      from unnest(p.prattrs) k (attnum)
                      join pg_attribute a on a.attrelid = p.prrelid and a.attnum = k.attnum),
                   'where (' || chr(1) || q.expression || chr(2) || ')') as what
            from pg_publication_rel p
            cross join lateral (select pg_get_expr(p.prqual, p.prrelid)) q (expression)
           where p.prrelid = any (v_relations)
          union all
          select p.pnpubid, r.oid, 'all tables of the schema'
            from pg_publication_namespace p
            join relations r on r.relnamespace = p.pnnspid and r.relkind in ('r', 'p') and r.relpersistence = 'p'
          union all
          select p.oid, r.oid, 'all tables'
            from pg_publication p
            join relations r on r.relkind in ('r', 'p') and r.relpersistence = 'p'
           where p.puballtables
        ) m on m.publication = b.oid
      union all
      select d.objoid, 7, d.objsubid, array['comment', a.attname::text, d.description, null, null]
        from pg_description d
        left join pg_attribute a on a.attrelid = d.objoid and a.attnum = d.objsubid and d.objsubid > 0
       where d.classoid = 'pg_class'::regclass and d.objoid = any (v_relations)
      union all
      select g.attrelid, 8, g.attnum::integer, array['grant', format('%s (%I)', g.role, g.attname), g.privileges, null, null]
        from (
          select a.attrelid, a.attnum, a.attname, case x.grantee when 0 then 'public' else x.grantee::regrole::text end as role,
                 string_agg(distinct lower(x.privilege_type) || case when x.is_grantable then ' with grant option' else '' end, ', ') as privileges
            from pg_attribute a
           cross join lateral aclexplode(a.attacl) x
           where a.attrelid = any (v_relations) and a.attacl is not null and not a.attisdropped
           group by a.attrelid, a.attnum, a.attname, x.grantee
        ) g
    ), defined as (
      select p.object, array_agg(p.part order by p.rank, p.place, p.part[1] collate "C", p.part[2] collate "C") as definition
        from parts p
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
      left join granted g on g.acl_type = r.acl_type and g.acl = r.acl and g.relowner = r.relowner
     -- The sequence of an identity column is described with the column, and has no privileges.
     where r.relkind <> 'S' or not exists (
             select from pg_depend d
              where d.classid = 'pg_class'::regclass and d.objid = r.oid and d.deptype = 'i');
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
                               where x.value not in ('-', '0', 'false')))
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
                 select 'superuser' where r.rolsuper
                 union all
                 select 'bypass row level security' where r.rolbypassrls
                 union all
                 select 'member of ' || quote_ident(m.rolname)
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
           ctx0_private.grants(a.defaclobjtype, a.defaclacl, a.defaclrole)
      from pg_default_acl a
     where p_only is null or a.oid in (select unnest(p_only));
  end if;
end
$$;

comment on type ctx0_private.schema_object is
  'ctx0: an object of the database with its definition';
comment on function ctx0_private.schema_objects(boolean, oid[]) is
  'ctx0: every object with its definition';
