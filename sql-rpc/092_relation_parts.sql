-- schema_part, relation_parts(p_relations): what these relations consist of, one row per part. schema_objects makes
-- their definitions of it.
--
-- Most schemas have few kinds of parts, and on a new connection it takes longer to plan a query than to run it. So
-- each kind has a query of its own, which is planned only where there is such a part.
create type ctx0_private.schema_part as (
  object oid,
  -- Their order, before that of their names.
  rank   integer,
  place  integer,
  part   text[]
);

create function ctx0_private.relation_parts(p_relations oid[])
returns setof ctx0_private.schema_part
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- The plans are kept with the connection, and a schema can grow: everything is looked up by an index.
set enable_mergejoin = off
set enable_seqscan = off
as $$
declare
  -- Since PostgreSQL 17 a partition has the identity of its table.
  v_shared_identity constant boolean := current_setting('server_version_num')::integer >= 170000;
  v_has record;
begin
  select bool_or(r.reloptions is not null) as options,
         bool_or(exists (select from pg_class t where t.oid = r.reltoastrelid and t.reloptions is not null)) as toast_options,
         bool_or(r.relreplident = 'i') as replica_identities,
         -- 2 is heap.
         bool_or(r.relam not in (0, 2)) as methods,
         bool_or(r.relkind = 'p') as keys,
         bool_or(r.relkind = 'f') as servers,
         bool_or(r.relkind in ('v', 'm')) as queries,
         bool_or(r.relkind = 'S') as sequences,
         bool_or(r.relhastriggers) as triggers,
         bool_or(r.relhasrules) as rules,
         exists (select from pg_inherits i where i.inhrelid = any (p_relations)) as parents,
         exists (select from pg_policy p where p.polrelid = any (p_relations)) as policies,
         exists (select from pg_statistic_ext s where s.stxrelid = any (p_relations)) as statistics,
         exists (select from pg_publication) as publications,
         exists (select from pg_constraint c
                  where c.conrelid = any (p_relations) and c.contype = 'n' and (c.connoinherit or not c.convalidated)) as loose_not_nulls,
         exists (select from pg_description d where d.classoid = 'pg_class'::regclass and d.objoid = any (p_relations)) as comments,
         bool_or(r.relkind = 'c') as types,
         exists (select from pg_attribute a where a.attrelid = any (p_relations) and a.attidentity <> '') as identity,
         exists (select from pg_attribute a where a.attrelid = any (p_relations) and a.attacl is not null) as grants
    into v_has
    from pg_class r
   where r.oid = any (p_relations);

  return query
  select r.oid, 0, 0, array['option', o.name, o.value, null, null]
    from pg_class r
    cross join lateral (values
      ('owner', case when r.relowner <> current_user::regrole then r.relowner::regrole::text end),
      ('row level security', case when not r.relrowsecurity then null when r.relforcerowsecurity then 'forced' else 'on' end),
      ('force row level security', case when r.relforcerowsecurity and not r.relrowsecurity then 'on' end),
      ('unlogged', case when r.relpersistence = 'u' then '' end),
      ('of', case when r.reloftype <> 0 then r.reloftype::regtype::text end),
      ('replica identity', case when r.relkind in ('r', 'p', 'm') then
                             case r.relreplident when 'f' then 'full' when 'n' then 'nothing' end end)
    ) o (name, value)
   where r.oid = any (p_relations) and o.value is not null;

  if v_has.options then
    return query
    select r.oid, 0, 0, array['option', 'with', ctx0_private.sorted(array(
             -- These can be written in several ways.
             select concat_ws('=', x.option_name, case when x.option_name in ('security_invoker', 'security_barrier')
                                                       then x.option_value::boolean::text else x.option_value end)
               from pg_options_to_table(r.reloptions) x)), null, (
             select 'i' from pg_options_to_table(r.reloptions) x
              where x.option_name = 'security_invoker' and x.option_value::boolean)]
      from pg_class r
     where r.oid = any (p_relations) and r.reloptions is not null;
  end if;

  if v_has.toast_options then
    return query
    select r.oid, 0, 0, array['option', 'with toast', ctx0_private.sorted(t.reloptions), null, null]
      from pg_class r
      join pg_class t on t.oid = r.reltoastrelid
     where r.oid = any (p_relations) and t.reloptions is not null;
  end if;

  if v_has.replica_identities then
    return query
    select i.indrelid, 0, 0, array['option', 'replica identity', 'index ' || quote_ident(c.relname), null, null]
      from pg_index i
      join pg_class c on c.oid = i.indexrelid
     where i.indrelid = any (p_relations) and i.indisreplident;
  end if;

  if v_has.methods then
    return query
    select r.oid, 0, 0, array['option', 'using', quote_ident(m.amname), null, null]
      from pg_class r
      join pg_am m on m.oid = r.relam
     where r.oid = any (p_relations) and m.amname <> 'heap';
  end if;

  if v_has.keys then
    return query
    select p.partrelid, 0, 0, array['option', 'partition by',
             case when p.partexprs is null then pg_get_partkeydef(p.partrelid)
                  else ctx0_private.marked(pg_get_partkeydef(p.partrelid), array[pg_get_expr(p.partexprs, p.partrelid)]) end, null, null]
      from pg_partitioned_table p
     where p.partrelid = any (p_relations);
  end if;

  if v_has.parents then
    return query
    select i.inhrelid, 0, i.inhseqno, array['option', case when r.relispartition then 'partition of' else 'inherits' end,
             concat_ws(' ', i.inhparent::regclass, pg_get_expr(r.relpartbound, r.oid),
                       case when i.inhdetachpending then '(being detached)' end), i.inhparent::text, null]
      from pg_inherits i
      join pg_class r on r.oid = i.inhrelid
     where i.inhrelid = any (p_relations);
  end if;

  if v_has.servers then
    return query
    select f.ftrelid, 0, 0, array['option', 'server', concat_ws(' ', quote_ident(s.srvname), ctx0_private.sorted(f.ftoptions)), null, null]
      from pg_foreign_table f
      join pg_foreign_server s on s.oid = f.ftserver
     where f.ftrelid = any (p_relations);
  end if;

  if v_has.queries then
    return query
    select r.oid, 1, 0, array['body', null, chr(1) || d.query || chr(2), null, null]
      from pg_class r
      cross join lateral (select pg_get_viewdef(r.oid)) d (query)
     where r.oid = any (p_relations) and r.relkind in ('v', 'm');
  end if;

  if v_has.sequences then
    return query
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
     where s.seqrelid = any (p_relations);
  end if;

  return query
  -- A dump lists inherited columns first, so their order is no part of such a table.
  select a.attrelid, 1, case when a.attinhcount > 0 and not r.relispartition then 0 else a.attnum::integer end,
         array['column', a.attname::text, concat_ws(' ',
           format_type(a.atttypid, a.atttypmod),
           case when a.attcollation <> t.typcollation then 'collate ' || a.attcollation::regcollation::text end,
           case when a.attstorage <> t.typstorage then 'storage ' || case a.attstorage
                     when 'p' then 'plain' when 'e' then 'external' when 'm' then 'main' else 'extended' end end,
           case a.attcompression when 'p' then 'compression pglz' when 'l' then 'compression lz4' end,
           'statistics ' || nullif(a.attstattarget, -1),
           'with (' || ctx0_private.sorted(a.attoptions) || ')',
           'options (' || ctx0_private.sorted(a.attfdwoptions) || ')',
           case when a.attnotnull then 'not null' end,
           -- Since PostgreSQL 18.
           case when v_has.loose_not_nulls then (
             select nullif(concat_ws(' ', case when c.connoinherit then 'no inherit' end,
                                     case when not c.convalidated then 'not valid' end), '')
               from pg_constraint c
              where c.conrelid = a.attrelid and c.contype = 'n' and c.conkey = array[a.attnum]) end,
           case when a.attgenerated <> '' then format('generated always as (%s) %s', e.marked,
                     case a.attgenerated when 's' then 'stored' else 'virtual' end)
                when a.attidentity <> '' and not (r.relispartition and v_shared_identity)
                then format('generated %s as identity%s', case a.attidentity when 'a' then 'always' else 'by default' end, i.options)
                when e.marked is not null then 'default ' || e.marked end),
           a.attnum::text,
           concat(case when a.attnotnull then 'n' end,
                  case when d.oid is not null or a.attidentity <> '' then 'd' end,
                  case when a.attgenerated <> '' then 'g' end)]
    from pg_class r
    join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on a.atthasdef and d.adrelid = a.attrelid and d.adnum = a.attnum
    left join lateral (select chr(1) || pg_get_expr(d.adbin, d.adrelid) || chr(2)) e (marked) on true
    left join lateral (
      select ' (' || nullif(concat_ws(' ',
               case when s.seqtypid <> a.atttypid then 'as ' || format_type(s.seqtypid, null) end,
               case when q.relpersistence <> r.relpersistence then case q.relpersistence when 'u' then 'unlogged' else 'logged' end end,
               case when s.seqstart <> case when s.seqincrement > 0 then s.seqmin else s.seqmax end then 'start ' || s.seqstart end,
               case when s.seqincrement <> 1 then 'increment ' || s.seqincrement end,
               case when s.seqmin <> case when s.seqincrement > 0 then 1 else -b.most - 1 end then 'minvalue ' || s.seqmin end,
               case when s.seqmax <> case when s.seqincrement > 0 then b.most else -1 end then 'maxvalue ' || s.seqmax end,
               case when s.seqcache <> 1 then 'cache ' || s.seqcache end,
               case when s.seqcycle then 'cycle' end), '') || ')'
        from pg_depend y
        join pg_sequence s on s.seqrelid = y.objid
        join pg_class q on q.oid = y.objid
       cross join lateral (
         select case s.seqtypid when 'bigint'::regtype then 9223372036854775807
                                when 'integer'::regtype then 2147483647 else 32767 end) b (most)
       where a.attidentity <> ''
         and y.refclassid = 'pg_class'::regclass and y.refobjid = a.attrelid and y.refobjsubid = a.attnum
         and y.classid = 'pg_class'::regclass and y.deptype = 'i'
    ) i (options) on true
   where r.oid = any (p_relations) and r.relkind <> 'S';

  return query
  select c.conrelid, 2, 0, array['constraint', c.conname::text,
           case c.contype
             when 'c' then ctx0_private.marked(d.definition, array[pg_get_expr(c.conbin, c.conrelid)])
             when 'x' then ctx0_private.marked(d.definition, ctx0_private.index_expressions(c.conindid))
             else d.definition || coalesce(' with (' || ctx0_private.sorted(k.reloptions) || ')', '') end
           || case when c.contype = 'f' and exists (
                select from pg_trigger t where t.tgconstraint = c.oid and t.tgenabled <> 'O') then ' (disabled)' else '' end,
           c.oid::text, null]
    from pg_constraint c
    cross join lateral (select pg_get_constraintdef(c.oid)) d (definition)
    left join pg_class k on k.oid = c.conindid and c.contype in ('p', 'u')
   where c.conrelid = any (p_relations)
     -- Since PostgreSQL 18 `not null` is a constraint too; here it stays with its column.
     and c.contype in ('c', 'f', 'p', 'u', 'x')
     -- A foreign key to a partitioned table has a copy for each partition.
     and (c.conparentid = 0 or not exists (
           select from pg_constraint p where p.oid = c.conparentid and p.conrelid = c.conrelid));

  return query
  select i.indrelid, 3, 0, array['index', c.relname::text, concat(
           case when i.indisunique then 'unique ' end,
           substr(d.definition, strpos(d.definition, ' USING ') + 1),
           (select ' statistics ' || string_agg(a.attnum || ' ' || a.attstattarget, ', ' order by a.attnum)
              from pg_attribute a
             where a.attrelid = c.oid and a.attstattarget >= 0),
           case when not i.indisvalid then ' (invalid)' end), c.oid::text, null]
    from pg_index i
    join pg_class c on c.oid = i.indexrelid
    cross join lateral (
      select case when i.indexprs is null and i.indpred is null then pg_get_indexdef(c.oid)
                  else ctx0_private.marked(pg_get_indexdef(c.oid), ctx0_private.index_expressions(c.oid)) end) d (definition)
   where i.indrelid = any (p_relations)
     -- The index of a constraint is described with the constraint.
     and not exists (select from pg_depend d
                      where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                        and d.refclassid = 'pg_constraint'::regclass and d.deptype = 'i');

  if v_has.triggers then
    return query
    select t.tgrelid, 4, 0, array['trigger', t.tgname::text,
             case when t.tgqual is null then d.definition
                  else ctx0_private.marked(d.definition, regexp_match(d.definition, '.{35,} WHEN \((.+)\) EXECUTE FUNCTION')) end
             || case t.tgenabled when 'O' then '' when 'D' then ' (disabled)'
                                 when 'R' then ' (enabled replica)' else ' (enabled always)' end,
             t.oid::text, null]
      from pg_trigger t
      cross join lateral (select pg_get_triggerdef(t.oid)) d (definition)
     where t.tgrelid = any (p_relations) and not t.tgisinternal;
  end if;

  if v_has.policies then
    return query
    select p.polrelid, 5, 0, array['policy', p.polname::text, concat_ws(' ',
             case when not p.polpermissive then 'restrictive' end,
             'for ' || case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
                                     when 'd' then 'delete' else 'all' end,
             'to ' || (select string_agg(case o when 0 then 'public' else o::regrole::text end, ', ' order by o::regrole::text)
                         from unnest(p.polroles) o),
             'using (' || chr(1) || u.expression || chr(2) || ')',
             'with check (' || chr(1) || w.expression || chr(2) || ')'), p.oid::text,
             case when not p.polpermissive or coalesce(u.expression, w.expression) <> 'false' then
               concat(case when not p.polpermissive then 'r' end,
                      case when p.polroles && array[0, to_regrole('anon')::oid] then 'a' end,
                      case when p.polroles && array[0, to_regrole('authenticated')::oid] then 'u' end) end]
      from pg_policy p
      cross join lateral (select pg_get_expr(p.polqual, p.polrelid)) u (expression)
      cross join lateral (select pg_get_expr(p.polwithcheck, p.polrelid)) w (expression)
     where p.polrelid = any (p_relations);
  end if;

  if v_has.rules then
    -- What begins after the name of the table is parsed again as a whole.
    return query
    select w.ev_class, 6, 0, array['rule', w.rulename::text, concat(
             'on ', case w.ev_type when '2' then 'update' when '3' then 'insert' else 'delete' end,
             chr(1) || d.action || chr(2),
             case w.ev_enabled when 'O' then '' when 'D' then ' (disabled)'
                                 when 'R' then ' (enabled replica)' else ' (enabled always)' end),
             w.oid::text, null]
      from pg_rewrite w
      join pg_class c on c.oid = w.ev_class
      join pg_namespace n on n.oid = c.relnamespace
      cross join lateral (select format('%I.%I', n.nspname, c.relname)) r (name)
      cross join lateral (
        select rtrim(substr(r.definition, strpos(r.definition, ' TO ' || r.name) + length(' TO ' || r.name)), ';')
          from (select pg_get_ruledef(w.oid), r.name) r (definition, name)) d (action)
     where w.ev_class = any (p_relations) and w.rulename <> '_RETURN';
  end if;

  if v_has.statistics then
    return query
    select s.stxrelid, 6, 0, array['statistics', s.stxname::text, concat_ws(' ',
             '(' || array_to_string(s.stxkind, ', ') || ') on',
             (select string_agg(quote_ident(a.attname), ', ' order by k.place)
                from unnest(s.stxkeys) with ordinality k (attnum, place)
                join pg_attribute a on a.attrelid = s.stxrelid and a.attnum = k.attnum),
             (select string_agg('(' || chr(1) || x || chr(2) || ')', ', ' order by o)
                from unnest(pg_get_statisticsobjdef_expressions(s.oid)) with ordinality e (x, o)),
             'target ' || nullif(s.stxstattarget, -1)), s.oid::text, null]
      from pg_statistic_ext s
     where s.stxrelid = any (p_relations);
  end if;

  if v_has.publications then
    return query
    select m.relation, 6, 0, array['publication', b.pubname::text, concat_ws(', ',
             m.what,
             'without ' || nullif(concat_ws(', ',
               case when not b.pubinsert then 'insert' end, case when not b.pubupdate then 'update' end,
               case when not b.pubdelete then 'delete' end, case when not b.pubtruncate then 'truncate' end), ''),
             case when b.pubviaroot then 'via root' end,
             -- Since PostgreSQL 18.
             case when to_jsonb(b) ->> 'pubgencols' <> 'n' then 'with generated columns' end), null, null]
      from pg_publication b
      join (
        select p.prpubid as publication, p.prrelid as relation, concat_ws(' ', 'table',
                 (select '(' || string_agg(quote_ident(a.attname), ', ' order by a.attnum) || ')'
                    from unnest(p.prattrs) k (attnum)
                    join pg_attribute a on a.attrelid = p.prrelid and a.attnum = k.attnum),
                 'where (' || chr(1) || q.expression || chr(2) || ')') as what
          from pg_publication_rel p
          cross join lateral (select pg_get_expr(p.prqual, p.prrelid)) q (expression)
         where p.prrelid = any (p_relations)
        union all
        select p.pnpubid, r.oid, 'all tables of the schema'
          from pg_publication_namespace p
          join pg_class r on r.oid = any (p_relations) and r.relnamespace = p.pnnspid and r.relkind in ('r', 'p') and r.relpersistence = 'p'
        union all
        select p.oid, r.oid, 'all tables'
          from pg_publication p
          join pg_class r on r.oid = any (p_relations) and r.relkind in ('r', 'p') and r.relpersistence = 'p'
         where p.puballtables
      ) m on m.publication = b.oid;
  end if;

  if v_has.comments then
    return query
    select d.objoid, 7, 0, array['comment', a.attname::text, d.description, null, null]
      from pg_description d
      left join pg_attribute a on a.attrelid = d.objoid and a.attnum = d.objsubid and d.objsubid > 0
     where d.classoid = 'pg_class'::regclass and d.objoid = any (p_relations);
  end if;

  if v_has.types then
    return query
    select r.oid, 7, 0, array['comment', null, d.description, null, null]
      from pg_class r
      join pg_description d on d.classoid = 'pg_type'::regclass and d.objoid = r.reltype
     where r.oid = any (p_relations) and r.relkind = 'c';
  end if;

  if v_has.identity then
    -- Most sequences of an identity column are granted as their table is, and then this is not told.
    return query
    select r.oid, 8, 0, array['grant', format('sequence of %I', a.attname), s.granted, null, null]
      from pg_attribute a
      join pg_class r on r.oid = a.attrelid
      join pg_depend y on y.refclassid = 'pg_class'::regclass and y.refobjid = a.attrelid and y.refobjsubid = a.attnum
                      and y.classid = 'pg_class'::regclass and y.deptype = 'i'
      join pg_class q on q.oid = y.objid and q.relkind = 'S'
     cross join lateral (select ctx0_private.grants_in_words(p_type => 's', p_acl => q.relacl, p_owner => q.relowner)) s (granted)
     where a.attrelid = any (p_relations) and a.attidentity <> '' and not (r.relispartition and v_shared_identity)
       and s.granted <> ctx0_private.grants_in_words(p_type => 'r', p_acl => r.relacl, p_owner => r.relowner);
  end if;

  if v_has.grants then
    return query
    select g.attrelid, 8, 0, array['grant', format('%s (%I)', g.role, g.attname), g.privileges, null, null]
      from (
        select a.attrelid, a.attname, case x.grantee when 0 then 'public' else x.grantee::regrole::text end as role,
               string_agg(distinct lower(x.privilege_type) || case when x.is_grantable then ' with grant option' else '' end, ', ') as privileges
          from pg_attribute a
         cross join lateral aclexplode(a.attacl) x
         where a.attrelid = any (p_relations) and a.attacl is not null and not a.attisdropped
         group by a.attrelid, a.attname, x.grantee
      ) g;
  end if;
end
$$;

comment on type ctx0_private.schema_part is
  'ctx0: a part of an object of the database';
comment on function ctx0_private.relation_parts(oid[]) is
  'ctx0: what relations consist of';
