-- observe_tables(): what this transaction has done to tables so far, as
--   files  {table: number of its file}; a different number means that the table was rewritten
--   rows   {table: [inserted, updated, deleted]}, with what earlier transactions of the connection
--          did and have not reported yet, and with what was rolled back since
--   slots  [name]: the physical replication slots, which no rollback removes
--   locks  {relation: [strength, name of the strongest lock]}, from 1 (access share) to 8 (access exclusive)
-- each by the table's oid.
create function ctx0_private.observe_tables()
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_modes constant text[] := '{AccessShareLock,RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}';
begin
  return (
    with tables as (
      select c.oid, c.relfilenode,
             array[pg_stat_get_xact_tuples_inserted(c.oid), pg_stat_get_xact_tuples_updated(c.oid),
                   pg_stat_get_xact_tuples_deleted(c.oid)] as rows
        from pg_class c
       where c.relkind in ('r', 'm') and c.relnamespace <> 'pg_catalog'::regnamespace
    )
    select jsonb_build_object(
      'files', (select coalesce(jsonb_object_agg(oid, relfilenode), '{}') from tables),
      'rows', (select coalesce(jsonb_object_agg(oid, rows) filter (where rows <> '{0,0,0}'), '{}') from tables),
      'slots', (select coalesce(jsonb_agg(slot_name), '[]') from pg_replication_slots where slot_type = 'physical'),
      'locks', (
        select coalesce(jsonb_object_agg(relation, jsonb_build_array(strength, v_modes[strength])), '{}')
          from (select l.relation, max(array_position(v_modes, l.mode)) as strength
                  from pg_locks l
                 where l.locktype = 'relation' and l.granted and l.pid = pg_backend_pid()
                 group by l.relation) held)
    )
  );
end
$$;

comment on function ctx0_private.observe_tables() is
  'ctx0: what this transaction has done to tables so far';
