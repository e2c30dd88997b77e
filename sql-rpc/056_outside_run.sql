-- outside_name(p_kind, p_attempt): the name of the index while a statement works on it.
create function ctx0_private.outside_name(p_kind text, p_attempt uuid)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select concat('ctx0_', split_part(p_kind, '_', 1), '_', replace(p_attempt::text, '-', ''));
$$;

comment on function ctx0_private.outside_name(text, uuid) is
  'ctx0: the name of an index while a statement outside a transaction works on it';

-- outside_run(): the version that is running outside a transaction, or no row.
create function ctx0_private.outside_run()
returns setof ctx0_private.ctx0_schema_outside
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from ctx0_private.ctx0_schema_outside;
$$;

comment on function ctx0_private.outside_run() is
  'ctx0: the version that is running outside a transaction';

-- outside_backend(p_run): the process that runs its statement, or null. The statement has the name of the
-- index. Where PostgreSQL hides the statements of that role, whatever locks the table as one of
-- these does may be it.
create function ctx0_private.outside_backend(p_run ctx0_private.ctx0_schema_outside)
returns integer
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select a.pid
    from pg_stat_activity a
   where a.datname = current_database() and a.pid <> pg_backend_pid()
     and (a.state = 'active'
          and strpos(a.query, ctx0_private.outside_name(p_kind => p_run.statement ->> 'kind', p_attempt => p_run.attempt)) > 0
          or a.query = '<insufficient privilege>' and exists (
               select from pg_locks l
                where l.pid = a.pid and l.mode = 'ShareUpdateExclusiveLock'
                  and l.relation = (p_run.statement ->> 'table_id')::oid))
   limit 1;
$$;

comment on function ctx0_private.outside_backend(ctx0_private.ctx0_schema_outside) is
  'ctx0: the process that runs the statement of a version outside a transaction';
