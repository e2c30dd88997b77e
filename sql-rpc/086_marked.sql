-- marked(p_definition, p_expressions): the definition with U+0001 in front of each of these
-- expressions, and U+0002 behind it.
--
-- PostgreSQL may print the same expression differently after a dump was restored, and in another
-- release. The marks tell reprint() what to parse again; everything else is compared as text. The
-- expressions are looked for in their order; one that is not found stays unmarked.
create function ctx0_private.marked(p_definition text, p_expressions text[])
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_marked     text := '';
  v_rest       text := p_definition;
  v_expression text;
  v_at         integer;
begin
  foreach v_expression in array p_expressions loop
    v_at := strpos(v_rest, v_expression);
    if v_at > 0 and v_expression <> '' then
      v_marked := concat(v_marked, left(v_rest, v_at - 1), chr(1), v_expression, chr(2));
      v_rest := substr(v_rest, v_at + length(v_expression));
    end if;
  end loop;
  return v_marked || v_rest;
end
$$;

comment on function ctx0_private.marked(text, text[]) is
  'ctx0: the definition with its expressions between marks';
