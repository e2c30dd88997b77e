-- compare_column(p_column): what a version does to the values of a column whose type it has set, as
-- {number, effect}. The effect is
--   deleted     some values become null
--   rounded     converting them back does not give the old values
--   replaced    an expression has put other values in their place
--   recomputed  as replaced, but values that were different still are, and no conversion exists to compare with
--   null        none, or it cannot be told
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
  v_table  constant oid := (p_column ->> 'id')::oid;
  v_after  constant jsonb := nullif(p_column -> 'digest', 'null');
  v_name   text;
  v_type   text;
  v_before jsonb;
  v_cast   jsonb;
  v_effect text;
begin
  select a.attname, format_type(a.atttypid, a.atttypmod) into v_name, v_type
    from pg_attribute a
   where a.attrelid = v_table and a.attnum = (p_column ->> 'number')::integer and not a.attisdropped;
  v_before := ctx0_private.digest_column(p_table => v_table, p_column => v_name, p_as => 'text');
  if (v_after -> 0)::bigint < (v_before -> 0)::bigint then
    v_effect := 'deleted';
  elsif v_type = p_column ->> 'type' then
    v_effect := case when v_before - 2 <> v_after - 2 then 'replaced' end;
  elsif v_before is not null and v_before - 2 is distinct from v_after - 2 then
    v_cast := ctx0_private.digest_column(p_table => v_table, p_column => v_name, p_as => p_column ->> 'type');
    if v_after is null or v_cast - 2 = v_after - 2 then
      begin
        execute format('select case when exists (select from %1$s where (%2$I::%3$s)::%4$s is distinct from %2$I) then ''rounded'' end',
                       ctx0_private.own_rows(p_table => v_table), v_name, p_column ->> 'type', v_type)
           into v_effect;
      exception
        when undefined_function or lock_not_available then
          null; -- Such as json, which cannot be compared.
        when others then
          v_effect := 'rounded'; -- No conversion leads back.
      end;
    else
      v_effect := case when v_cast is null and v_before ->> 2 = v_after ->> 2 then 'recomputed' else 'replaced' end;
    end if;
  end if;
  return jsonb_build_object('number', p_column -> 'number', 'effect', v_effect);
exception when others then
  return jsonb_build_object('number', p_column -> 'number', 'effect', null);
end
$$;

comment on function ctx0_private.compare_column(jsonb) is
  'ctx0: what a version does to the values of a column whose type it has set';
