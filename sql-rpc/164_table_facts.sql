-- table_facts(p_versions, p_stop_at): facts about the tables that would lose or rewrite data, and about
-- composite types, read after the rehearsal was rolled back. The rows of a type are those of tables that have a
-- column of it.
--
-- Result: a list of
--   {id, relation, bytes, count, has_rows, filled: [column numbers], altered: [{number, effect}]}
--     count    the number of rows; null where the table is larger than 64 MB or could not be read
--     filled   of the dropped columns, those that hold a value
--     altered  what compare_column() tells of the columns whose type was set
--   Where a table cannot be read, all that could be lost counts as lost.
create function ctx0_private.table_facts(p_versions jsonb, p_stop_at timestamptz)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
set row_security = off
set jit = off
as $$
declare
  v_facts    jsonb[] := '{}';
  v_columns  constant jsonb := (
    select coalesce(jsonb_object_agg(c.id, c.columns), '{}')
      from (select x ->> 'id' as id, jsonb_agg(x) as columns
              from jsonb_array_elements(p_versions) v
             cross join lateral jsonb_array_elements(coalesce(v -> 'columns', '[]')) x
             group by x ->> 'id') c);
  v_table    record;
  v_has_rows boolean;
  v_count    jsonb;
  v_filled   integer[];
  v_altered  jsonb;
begin
  for v_table in
    with changed as materialized (
      select x -> 'before' ->> 'id' as id, x -> 'before' -> 'definition' as before, x -> 'after' -> 'definition' as after
        from jsonb_array_elements(p_versions) v
       cross join lateral jsonb_array_elements(coalesce(v -> 'objects', '[]')) x
       where x -> 'before' ->> 'kind' in ('table', 'type')
    ), dropped as materialized (
      select c.id, array_agg(distinct b.part ->> 3) as numbers
        from changed c
       cross join lateral jsonb_array_elements(c.before) b (part)
       where b.part ->> 0 = 'column'
         and not exists (select from jsonb_array_elements(coalesce(nullif(c.after, 'null'), '[]')) a
                          where a ->> 0 = 'column' and a ->> 3 = b.part ->> 3)
       group by c.id
    ), touched as (
      select i.id, coalesce(d.numbers, '{}') as dropped
        from (
          select id from changed
          union
          select x ->> 'id'
            from jsonb_array_elements(p_versions) v
           cross join lateral jsonb_array_elements(coalesce(v -> 'rewrites', '[]') || coalesce(v -> 'rows', '[]')) x
        ) i
        left join dropped d on d.id = i.id
    )
    select c.oid as id, format('%I.%I', n.nspname, c.relname) as name, t.dropped, r.has_rows,
           coalesce((select string_agg(format('case when %s then %s end',
                                              case c.relkind when 'c' then r.has_rows
                                                else format('exists (select from %s where %I is not null)',
                                                            ctx0_private.own_rows(p_table => c.oid), a.attname) end,
                                              a.attnum), ', ')
                       from pg_attribute a
                      where a.attrelid = c.oid and a.attnum::text = any (t.dropped) and a.attgenerated = ''
                        and not a.attisdropped), '') as values
      from touched t
      join pg_class c on c.oid = t.id::oid
      join pg_namespace n on n.oid = c.relnamespace
     cross join lateral (
       select case when c.relkind <> 'c' then format('exists (select from %s)', ctx0_private.own_rows(p_table => c.oid))
                else coalesce((select string_agg(format('exists (select from %s where %I is not null)',
                                                        ctx0_private.own_rows(p_table => a.attrelid), a.attname), ' or ')
                                 from pg_type y
                                 join pg_attribute a on a.atttypid in (y.oid, y.typarray) and not a.attisdropped
                                 join pg_class u on u.oid = a.attrelid and u.relkind in ('r', 'p', 'm')
                                where y.oid = c.reltype), 'false') end) r (has_rows)
     where c.relkind in ('r', 'p', 'm', 'c')
  loop
    begin
      if p_stop_at is not null and clock_timestamp() > p_stop_at then
        raise sqlstate 'CTX02';
      end if;
      execute format('select %s, array_remove(array[%s]::integer[], null)', v_table.has_rows, v_table.values)
         into v_has_rows, v_filled;
      v_count := ctx0_private.count_rows(p_table => v_table.id) -> 'count';
    exception when query_canceled or others then
      -- In use, or no time is left. What cannot be read counts as data that would be lost.
      v_has_rows := true;
      v_filled := v_table.dropped::integer[];
      v_count := null;
    end;
    v_altered := '[]';
    if v_has_rows and v_columns ? v_table.id::text then
      select jsonb_agg(ctx0_private.compare_column(p_column => x)) into v_altered
        from jsonb_array_elements(v_columns -> v_table.id::text) x;
    end if;
    v_facts[cardinality(v_facts) + 1] := jsonb_strip_nulls(jsonb_build_object(
      'id', v_table.id::text, 'relation', v_table.name,
      'bytes', ctx0_private.table_bytes(p_table => v_table.id, p_whole => true),
      'count', v_count, 'has_rows', v_has_rows, 'filled', v_filled, 'altered', v_altered));
  end loop;
  return to_jsonb(v_facts);
end
$$;

comment on function ctx0_private.table_facts(jsonb, timestamptz) is
  'ctx0: facts about the tables that would lose or rewrite data';
