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
  if pg_relation_size(p_table) <= 64 * 1024 * 1024 then
    execute format('select jsonb_build_object(''count'', count(*), ''kept'', count(*) filter (where age(t.xmin) > 0)) from %s t',
                   p_table::regclass)
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
-- values, sum of their hashes]: equal for equal values in any order. Null where it cannot be read.
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
  execute format('select jsonb_build_array(count(%1$I), coalesce(sum(hashtextextended((%1$I::%2$s)::text, 0)::numeric), 0)::text) from %3$s',
                 p_column, p_as, p_table::regclass)
     into v_digest;
  return v_digest;
exception when others then
  return null;
end
$$;

comment on function ctx0_private.digest_column(oid, text, text) is
  'ctx0: a digest of the values of a column';
