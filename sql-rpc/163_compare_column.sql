-- compare_column(p_column): what a change of type does to the values of a column, found by converting
-- them: {number, lost, changed}. Lost: some become null. Changed: some differ after converting them
-- back, because they were rounded, cut or recomputed. Both are null where the comparison fails.
--
-- Arguments
--   p_column  {id, number, type, digest}: the column after the change, with digest_column()
create function ctx0_private.compare_column(p_column jsonb)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, public, extensions, pg_temp
set row_security = off
as $$
declare
  v_table   constant oid := (p_column ->> 'id')::oid;
  v_after   constant jsonb := nullif(p_column -> 'digest', 'null');
  v_name    text;
  v_type    text;
  v_before  jsonb;
  v_cast    jsonb;
  v_changed boolean;
begin
  select a.attname, format_type(a.atttypid, a.atttypmod) into v_name, v_type
    from pg_attribute a
   where a.attrelid = v_table and a.attnum = (p_column ->> 'number')::integer and not a.attisdropped;
  v_before := ctx0_private.digest_column(p_table => v_table, p_column => v_name, p_as => 'text');
  if v_type is not null and v_type = p_column ->> 'type' or v_before = v_after then
    v_changed := coalesce(v_before <> v_after, false);
  else
    v_cast := ctx0_private.digest_column(p_table => v_table, p_column => v_name, p_as => p_column ->> 'type');
    if v_after is null or v_cast = v_after then
      -- The plain conversion: a value that differs after converting it there and back is changed.
      begin
        execute format('select exists (select from %1$s where (%2$I::%3$s)::%4$s is distinct from %2$I)',
                       ctx0_private.own_rows(p_table => v_table), v_name, p_column ->> 'type', v_type)
           into v_changed;
      exception when others then
        v_changed := null; -- Such as json, which cannot be compared.
      end;
    elsif v_cast is not null then
      v_changed := true;
    end if;
  end if;
  return jsonb_build_object(
    'number', p_column -> 'number', 'lost', (v_after -> 0)::bigint < (v_before -> 0)::bigint, 'changed', v_changed);
exception when others then
  return jsonb_build_object('number', p_column -> 'number', 'lost', null, 'changed', null);
end
$$;

comment on function ctx0_private.compare_column(jsonb) is
  'ctx0: what a change of its type does to the values of a column';
