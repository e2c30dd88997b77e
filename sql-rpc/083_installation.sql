-- installation(): the functions and tables of ctx0 in one text, which changes when a migration
-- drops or replaces one of them.
create function ctx0_private.installation()
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select string_agg(concat_ws(' ', o.id, o.row), ',' order by o.id)
      from (
        -- By what they depend on, for which there is an index: a database can have many functions.
        select p.oid::bigint as id, p.xmin::text as row
          from pg_depend d
          join pg_proc p on p.oid = d.objid
         where d.classid = 'pg_proc'::regclass
           and (d.refclassid = 'pg_namespace'::regclass and d.refobjid = 'ctx0_private'::regnamespace
                or d.refclassid = 'pg_type'::regclass and d.refobjid = 'ctx0_private.answer'::regtype)
        union all
        select c.oid, null
          from pg_class c
         where c.oid in ('public.ctx0_schema_versions'::regclass, 'ctx0_private.ctx0_schema_attempts'::regclass,
                         'ctx0_private.ctx0_schema_cancellations'::regclass, 'ctx0_private.ctx0_schema_outside'::regclass)
      ) o);
end
$$;

comment on function ctx0_private.installation() is
  'ctx0: its functions and tables in one text';

-- own_writes(): what this transaction has written so far to the ledger and to the catalog of functions, and which
-- the tables of ctx0 are. While this text stays the same, so do installation() and the rows of the ledger, which
-- cost more to read. Null where PostgreSQL does not count what a transaction writes (track_counts), which the row
-- that each version to apply has in the ledger shows; and so for a rollback.
create function ctx0_private.own_writes()
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_functions constant oid := 'pg_proc'::regclass;
  v_ledger    constant oid := to_regclass('public.ctx0_schema_versions');
begin
  return case when current_setting('track_counts')::boolean and pg_stat_get_xact_tuples_inserted(v_ledger) > 0 then format(
    '%s %s %s %s %s %s %s %s %s %s %s',
    pg_stat_get_xact_tuples_inserted(v_functions), pg_stat_get_xact_tuples_updated(v_functions),
    pg_stat_get_xact_tuples_deleted(v_functions),
    pg_stat_get_xact_tuples_inserted(v_ledger), pg_stat_get_xact_tuples_updated(v_ledger),
    pg_stat_get_xact_tuples_deleted(v_ledger),
    -- `truncate` sets these numbers to 0 and gives the table another file.
    v_ledger, pg_relation_filenode(v_ledger),
    to_regclass('ctx0_private.ctx0_schema_attempts')::oid, to_regclass('ctx0_private.ctx0_schema_cancellations')::oid,
    to_regclass('ctx0_private.ctx0_schema_outside')::oid) end;
end
$$;

comment on function ctx0_private.own_writes() is
  'ctx0: what this transaction has written to the ledger and to the catalog of functions';

-- record_writes(): what this transaction has written to the record of changes.
create function ctx0_private.record_writes()
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tables constant regclass[] := array[
    to_regclass('ctx0_private.ctx0_schema_attempts'), to_regclass('ctx0_private.ctx0_schema_cancellations'),
    to_regclass('ctx0_private.ctx0_schema_outside')];
begin
  return (
    select string_agg(concat_ws(' ', pg_relation_filenode(t), pg_stat_get_xact_tuples_inserted(t),
                                pg_stat_get_xact_tuples_updated(t), pg_stat_get_xact_tuples_deleted(t)), ',')
      from unnest(v_tables) t);
end
$$;

comment on function ctx0_private.record_writes() is
  'ctx0: what this transaction has written to the record of changes';
