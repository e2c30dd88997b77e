-- lock_holders(p_statement, p_path): the sessions that hold a relation which the statement names, as
-- [{relation, mode, pid, user, application, state, since}].
--
-- A lock timeout does not say which session it waited for. Names are resolved as PostgreSQL resolves
-- them, so a table of the same name in another schema is not meant; partitions and other heirs of
-- a named table are included, because a statement locks them too. What PostgreSQL hides from a role
-- that is not a member of pg_read_all_stats is null.
--
-- Arguments
--   p_statement  the statement that waited
--   p_path       the search_path under which it ran
create function ctx0_private.lock_holders(p_statement text, p_path text)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schemas name[];
begin
  perform set_config('search_path', p_path, true);
  v_schemas := pg_catalog.current_schemas(true);
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  return (
    with recursive named as materialized (
      select distinct coalesce(q.part[2], lower(q.part[1])) as schema, coalesce(q.part[4], lower(q.part[3])) as name
        from regexp_matches(
               regexp_replace(regexp_replace(p_statement, '/[*].*?[*]/', ' ', 'g'), '--[^\n]*', ' ', 'g'),
               '(?:(?:([[:alpha:]_][[:alnum:]_$]*)|"([^"]+)")\s*[.]\s*)?(?:([[:alpha:]_][[:alnum:]_$]*)|"([^"]+)")', 'g') q (part)
    ), found as materialized (
      select distinct on (t.schema, t.name) c.oid
        from named t
        join pg_class c on c.relname = t.name
        join pg_namespace n on n.oid = c.relnamespace
         and case when t.schema is null then n.nspname = any (v_schemas) else n.nspname = t.schema end
       order by t.schema, t.name, array_position(v_schemas, n.nspname)
    ), meant (id) as (
      select coalesce(i.indrelid, f.oid) from found f left join pg_index i on i.indexrelid = f.oid
      union
      select h.inhrelid from meant m join pg_inherits h on h.inhparent = m.id
    )
    select coalesce(jsonb_agg(to_jsonb(h) order by h.since nulls last, h.pid, h.relation), '[]')
      from (
        select distinct
               c.oid::regclass::text as relation,
               l.mode,
               l.pid,
               a.usename::text as "user",
               nullif(a.application_name, '') as application,
               a.state,
               a.xact_start as since
          from meant m
          join pg_class c on c.oid = m.id and c.relkind in ('r', 'p', 'm', 'v', 'f', 'S')
           and c.relnamespace <> 'pg_catalog'::regnamespace
          join pg_locks l on l.relation = c.oid
          left join pg_stat_activity a on a.pid = l.pid
         where l.locktype = 'relation'
           and l.granted
           and l.pid <> pg_backend_pid()
           and l.database = (select oid from pg_database where datname = current_database())
         limit 20
      ) h
  );
end
$$;

comment on function ctx0_private.lock_holders(text, text) is
  'ctx0: who holds the relations that a statement names';
