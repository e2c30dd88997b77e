-- lock_holders(p_statement): the sessions that hold a relation which the statement names, as
-- [{relation, mode, pid, user, application, state, since}].
--
-- A lock timeout does not say which session it waited for. Names are compared as whole words: a holder of
-- `notes` has nothing to do with a statement on `note`. What PostgreSQL hides from a role that is
-- not a member of pg_read_all_stats is null.
create function ctx0_private.lock_holders(p_statement text)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with words as materialized (
    select ctx0_private.words(p_text => p_statement) as names
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
        from pg_locks l
        join pg_class c on c.oid = l.relation and c.relkind in ('r', 'p', 'm', 'v', 'f', 'S')
        left join pg_stat_activity a on a.pid = l.pid
       where l.locktype = 'relation'
         and l.granted
         and l.pid <> pg_backend_pid()
         and l.database = (select oid from pg_database where datname = current_database())
         and c.relnamespace <> 'pg_catalog'::regnamespace
         and c.relname::text = any (array(select unnest(names) from words))
       limit 20
    ) h;
$$;

comment on function ctx0_private.lock_holders(text) is
  'ctx0: who holds the relations that a statement names';
