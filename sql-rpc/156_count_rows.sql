-- own_rows(p_table): what to select from for the rows that are the table's own, without those of tables that inherit from it.
-- The rows of a partitioned table are those of its partitions.
create function ctx0_private.own_rows(p_table oid)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select concat(case when c.relkind <> 'p' then 'only ' end, c.oid::regclass) from pg_class c where c.oid = p_table);
end
$$;

comment on function ctx0_private.own_rows(oid) is
  'ctx0: what to select from for the rows of a table itself';

-- table_bytes(p_table, p_whole): the size of a table, with its partitions; p_whole: with its indexes too.
create function ctx0_private.table_bytes(p_table oid, p_whole boolean)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select sum(case when p_whole then pg_total_relation_size(t.id) else pg_relation_size(t.id) end)
      from (select p_table as id union select relid from pg_partition_tree(p_table)) t);
end
$$;

comment on function ctx0_private.table_bytes(oid, boolean) is
  'ctx0: the size of a table, with its partitions';

-- count_rows(p_table): the rows of a table as this transaction sees them, as {count, kept}; kept are
-- those that it has not written itself. Null where the table is larger than 64 MB, or cannot be read.
create function ctx0_private.count_rows(p_table oid)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
  v_counts jsonb;
begin
  if ctx0_private.table_bytes(p_table => p_table, p_whole => false) <= 64 * 1024 * 1024 then
    execute format('select jsonb_build_object(''count'', count(*), ''kept'', count(*) filter (where age(t.xmin) > 0)) from %s t',
                   ctx0_private.own_rows(p_table => p_table))
       into v_counts;
  end if;
  return v_counts;
exception when others then
  return null;
end
$$;

comment on function ctx0_private.count_rows(oid) is
  'ctx0: the rows of a table, and those that this transaction has not written';

-- digest_column(p_table, p_column, p_as): the values of a column, cast to a type, as [number of
-- values, sum of their hashes, number of different values]: equal for equal values in any order. The last
-- is null where the table is larger than 64 MB. Null where it cannot be read.
create function ctx0_private.digest_column(p_table oid, p_column text, p_as text)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
  v_digest jsonb;
begin
  execute format('select jsonb_build_array(count(h), coalesce(sum(h::numeric), 0)::text, %s)
                    from (select hashtextextended((%I::%s)::text, 0) as h from %s) v',
                 case when ctx0_private.table_bytes(p_table => p_table, p_whole => false) <= 64 * 1024 * 1024
                      then 'count(distinct h)' else 'null' end,
                 p_column, p_as, ctx0_private.own_rows(p_table => p_table))
     into v_digest;
  return v_digest;
exception when others then
  return null;
end
$$;

comment on function ctx0_private.digest_column(oid, text, text) is
  'ctx0: a digest of the values of a column';
