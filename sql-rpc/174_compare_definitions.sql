-- compare_definitions(p_object, p_before, p_after): whether two definitions of an
-- object, each as in describe_schema, mean different things.
--
-- Result
--   differs  what is outside of the marks differs, or what is between them is printed differently
--            after PostgreSQL has parsed both, or what was recorded can no longer be parsed
--   unknown  why the two could not be compared, where nothing else differs
create function ctx0_private.compare_definitions(
  p_object    text,
  p_before    jsonb,
  p_after     jsonb,
  out differs boolean,
  out unknown text
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
-- Beside those of schema_objects, which are copied below: what changes how a text is parsed.
set transform_null_equals = off
set array_nulls = on
set xmloption = content
set check_function_bodies = off
set client_min_messages = warning
as $$
declare
  v_part   text;
  v_before text[];
  v_after  text[];
  v_was    record;
  v_is     record;
begin
  differs := jsonb_array_length(p_before) <> jsonb_array_length(p_after);
  for v_index in 0 .. jsonb_array_length(p_after) - 1 loop
    exit when differs;
    v_part := p_after -> v_index ->> 0;
    v_before := regexp_split_to_array(p_before -> v_index ->> 2, '[\u0001\u0002]');
    v_after := regexp_split_to_array(p_after -> v_index ->> 2, '[\u0001\u0002]');
    differs := (p_before -> v_index) - 2 <> (p_after -> v_index) - 2
               or cardinality(v_before) is distinct from cardinality(v_after)
               or cardinality(v_after) % 2 = 0
               or exists (select from generate_series(1, cardinality(v_after), 2) i where v_before[i] <> v_after[i]);
    for v_text in 2 .. coalesce(cardinality(v_after), 0) by 2 loop
      exit when differs;
      continue when v_before[v_text] = v_after[v_text];
      v_is := ctx0_private.reprint(p_object, v_part, v_after[1], v_after[v_text]);
      v_was := ctx0_private.reprint(p_object, v_part, v_after[1], v_before[v_text]);
      if v_is.printed is null or v_was.unknown is not null then
        unknown := coalesce(v_is.unknown, v_is.unreadable, v_was.unknown);
      else
        differs := v_was.printed is distinct from v_is.printed;
      end if;
    end loop;
  end loop;
  if differs then
    unknown := null;
  end if;
end
$$;

-- The same settings as where the definitions were printed.
do $$
declare
  v_setting text;
begin
  for v_setting in
    select pg_catalog.format('%I to %L', pg_catalog.split_part(s, '=', 1), pg_catalog.substr(s, pg_catalog.strpos(s, '=') + 1))
      from pg_catalog.pg_proc p, pg_catalog.unnest(p.proconfig) s
     where p.oid = 'ctx0_private.schema_objects(boolean, oid[])'::pg_catalog.regprocedure and s !~ '^search_path='
  loop
    execute 'alter function ctx0_private.compare_definitions(text, jsonb, jsonb) set ' || v_setting;
  end loop;
end
$$;

comment on function ctx0_private.compare_definitions(text, jsonb, jsonb) is
  'ctx0: whether two definitions of an object mean different things';
