-- describe_version(...): what a version has changed, seen in the transaction that has just run it.
--
-- Arguments
--   p_base       the objects as they were before the rehearsal
--   p_before     the objects as the version before left them, those that this one has touched
--   p_after      the same objects as they are now
--   p_was, p_is  observe_tables() before and after
--
-- Result: {objects, locks, rewrites, rows, columns, unseen, large_objects, slots}, as ctx0_rehearse_migrations
-- returns them.
create function ctx0_private.describe_version(
  p_base   ctx0_private.schema_object[],
  p_before ctx0_private.schema_object[],
  p_after  ctx0_private.schema_object[],
  p_was    jsonb,
  p_is     jsonb
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_ledger   constant oid := 'public.ctx0_schema_versions'::regclass;
  v_rewrites jsonb;
begin
  select coalesce(jsonb_agg(jsonb_build_object(
           'id', o.id, 'relation', o.name, 'empty', pg_relation_size(o.id) = 0,
           'count', ctx0_private.count_rows(p_table => o.id) -> 'count') order by o.name), '[]')
    into v_rewrites
    from jsonb_each(p_was -> 'files') f
    join unnest(p_base) o on o.id = f.key::oid and o.class = 'pg_class'::regclass
    join (select a.id from unnest(p_after) a where a.class = 'pg_class'::regclass) a on a.id = o.id
   where f.value <> p_is -> 'files' -> f.key;

  return jsonb_build_object(
    'objects', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'before', case when b.id is not null then to_jsonb(b) - 'class' end,
               'after', case when a.id is not null then to_jsonb(a) - 'class' end)
               order by coalesce(b.name, a.name), b.id nulls last), '[]')
        from unnest(p_before) b
        full join unnest(p_after) a on a.class = b.class and a.id = b.id
       where a is distinct from b),
    'locks', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'id', o.id, 'relation', o.name, 'mode', l.value ->> 1) order by o.name), '[]')
        from jsonb_each(p_is -> 'locks') l
        join unnest(p_base) o on o.id = l.key::oid and o.class = 'pg_class'::regclass
       where o.kind not in ('sequence', 'type')
         and (l.value -> 0)::integer > coalesce((p_was -> 'locks' -> l.key -> 0)::integer, 1)
         -- Every version writes its row into the ledger.
         and ((l.value -> 0)::integer > 3 or o.id <> v_ledger)),
    'rewrites', v_rewrites,
    'rows', (
      select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
               'id', r.id, 'relation', r.name, 'existed', r.existed, 'root', r.root, 'kept', r.counts -> 'kept',
               'inserted', r.inserted, 'updated', r.updated, 'deleted', r.deleted)) order by r.name), '[]')
        from (
          select d.*, case when d.existed and d.updated + d.deleted > 0
                           then ctx0_private.count_rows(p_table => d.id) end as counts
            from (
              select c.oid as id, format('%I.%I', n.nspname, c.relname) as name,
                     p_was -> 'files' ? r.key as existed,
                     case when c.relispartition then pg_partition_root(c.oid) end as root,
                     -- `truncate` undoes what was counted.
                     greatest((r.value -> 0)::bigint - coalesce((p_was -> 'rows' -> r.key -> 0)::bigint, 0), 0) as inserted,
                     greatest((r.value -> 1)::bigint - coalesce((p_was -> 'rows' -> r.key -> 1)::bigint, 0), 0) as updated,
                     greatest((r.value -> 2)::bigint - coalesce((p_was -> 'rows' -> r.key -> 2)::bigint, 0), 0) as deleted
                from jsonb_each(p_is -> 'rows') r
                join pg_class c on c.oid = r.key::oid
                join pg_namespace n on n.oid = c.relnamespace
               where r.value is distinct from p_was -> 'rows' -> r.key and c.oid <> v_ledger
                 and n.nspname <> 'ctx0_private' and n.nspname !~ '^pg_'
            ) d
        ) r),
    'columns', (
      -- The values of columns that were altered in a table that was rewritten: `using` may give them other values even where the
      -- definition is the same.
      with rewritten as materialized (
        select w ->> 'id' as id from jsonb_array_elements(v_rewrites) w
      ), old as (
        select o.id, o.name as relation, o.definition[i][4] as number, o.definition[i][3] as definition
          from unnest(p_before) o
          join rewritten r on r.id = o.id::text
         cross join lateral generate_subscripts(o.definition, 1) i
         where o.definition[i][1] = 'column' and o.class = 'pg_class'::regclass
      ), new as (
        select o.id, o.definition[i][4] as number, o.definition[i][3] as definition
          from unnest(p_after) o
          join rewritten r on r.id = o.id::text
         cross join lateral generate_subscripts(o.definition, 1) i
         where o.definition[i][1] = 'column' and o.class = 'pg_class'::regclass
      )
      select coalesce(jsonb_agg(jsonb_build_object(
               'id', a.attrelid::text, 'number', a.attnum, 'relation', old.relation, 'name', a.attname,
               'type', format_type(a.atttypid, a.atttypmod),
               -- If rows were updated as well, this says nothing about the values.
               'digest', case when p_is -> 'rows' -> old.id::text is not distinct from p_was -> 'rows' -> old.id::text
                              then ctx0_private.digest_column(p_table => a.attrelid, p_column => a.attname, p_as => 'text') end)), '[]')
        from old
        join new on new.id = old.id and new.number = old.number
        join pg_attribute a on a.attrelid = old.id and a.attnum = old.number::smallint and a.attgenerated = ''
       where new.definition <> old.definition or age(a.xmin) <= 0),
    'unseen', to_jsonb(array(
      select 'how many rows it changes, because track_counts is off'
       where not current_setting('track_counts')::boolean
      union all
      select format('what it changes in the foreign table %I.%I', n.nspname, c.relname)
        from pg_locks l
        join pg_class c on c.oid = l.relation and c.relkind = 'f'
        join pg_namespace n on n.oid = c.relnamespace
       where l.locktype = 'relation' and l.granted and l.pid = pg_backend_pid() and l.mode = 'RowExclusiveLock')),
    'slots', (
      select coalesce(jsonb_agg(s.name), '[]')
        from jsonb_array_elements_text(p_is -> 'slots') s (name)
       where not p_was -> 'slots' ? s.name),
    'large_objects', (
      select count(*)
        from pg_locks l
       where l.locktype = 'object' and l.granted and l.pid = pg_backend_pid()
         and l.classid = 'pg_largeobject'::regclass and l.mode = 'AccessExclusiveLock'));
end
$$;

comment on function ctx0_private.describe_version(
  ctx0_private.schema_object[], ctx0_private.schema_object[], ctx0_private.schema_object[], jsonb, jsonb) is
  'ctx0: what a version has changed';
