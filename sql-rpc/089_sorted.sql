-- sorted(p_options): options such as {fillfactor=50}, in one order and one text.
create function ctx0_private.sorted(p_options text[])
returns text
language sql
immutable
strict
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(o, ', ' order by o collate "C") from unnest(p_options) o
$$;

comment on function ctx0_private.sorted(text[]) is
  'ctx0: options in one order';
