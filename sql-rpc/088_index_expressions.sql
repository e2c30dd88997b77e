-- index_expressions(p_index): the expressions in an index's definition, in their order.
create function ctx0_private.index_expressions(p_index oid)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select array(select pg_get_indexdef(i.indexrelid, k, false)
                   from generate_series(1, i.indnkeyatts) k
                  where i.indkey[k - 1] = 0
                  order by k)
           || array_remove(array[pg_get_expr(i.indpred, i.indrelid)], null)
      from pg_index i
     where i.indexrelid = p_index
  );
end
$$;

comment on function ctx0_private.index_expressions(oid) is
  'ctx0: the expressions in the definition of an index';
