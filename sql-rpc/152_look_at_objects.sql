-- look_at_objects(p_only): the objects with their definitions, all or those in p_only. Where another
-- session drops one in the middle, it looks again.
create function ctx0_private.look_at_objects(p_only oid[] default null)
returns ctx0_private.schema_object[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  for v_try in 1 .. 20 loop
    begin
      return array(select o from ctx0_private.schema_objects(p_ours => false, p_only => p_only) o);
    exception
      when internal_error or undefined_table or undefined_object or undefined_function or undefined_column
        or invalid_schema_name or null_value_not_allowed then
        if v_try = 20 then
          raise;
        end if;
    end;
  end loop;
end
$$;

comment on function ctx0_private.look_at_objects(oid[]) is
  'ctx0: the objects with their definitions, whatever other sessions do';
