-- sequence_values(p_only): where sequences stand, as {oid: [last_value, is_called]}; all of them,
-- or those in p_only. One that cannot be read now is left out.
--
-- They are read a few hundred at a time in a subtransaction that is rolled back, so that no lock on
-- them is kept and no session that uses one has to wait.
create function ctx0_private.sequence_values(p_only oid[] default null)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
set lock_timeout = '50ms'
as $$
declare
  v_all    constant text[] := array(
    select array[c.oid::text, format('%I.%I', n.nspname, c.relname)]
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where c.oid = any (coalesce(p_only, array(select seqrelid from pg_sequence))) and c.relpersistence <> 't'
       and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select'));
  v_values text[] := '{}';
  v_value  text;
begin
  for v_block in 0 .. (cardinality(v_all) / 2 - 1) / 500 loop
    begin
      for v_number in v_block * 500 + 1 .. least(v_block * 500 + 500, cardinality(v_all) / 2) loop
        begin
          execute 'select jsonb_build_array(last_value, is_called) from ' || v_all[v_number][2] into v_value;
          v_values[cardinality(v_values) + 1] := format('"%s": %s', v_all[v_number][1], v_value);
        exception when others then
          null; -- It is being changed or dropped.
        end;
      end loop;
      raise sqlstate 'CTX00';
    exception when sqlstate 'CTX00' then
      null;
    end;
  end loop;
  return ('{' || array_to_string(v_values, ',') || '}')::jsonb;
end
$$;

comment on function ctx0_private.sequence_values(oid[]) is
  'ctx0: where sequences stand';
