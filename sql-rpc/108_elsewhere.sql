-- elsewhere(p_name, p_path): the hint about a relation that was not found by its name alone, where another schema has one
-- of that name; null where none has.
--
-- Arguments
--   p_name  as SQL has it
--   p_path  where it was looked for: the search_path
create function ctx0_private.elsewhere(p_name text, p_path text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format('Not in the search_path (%s), but there is %I.%I.', p_path, n.nspname, c.relname)
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
   where array[c.relname::text] = parse_ident(p_name, false) and n.nspname <> 'ctx0_private' and n.nspname !~ '^pg_'
     and n.nspname <> all (select btrim(s, ' "') from string_to_table(p_path, ',') s)
   order by n.nspname
   limit 1;
$$;

comment on function ctx0_private.elsewhere(text, text) is
  'ctx0: the hint about a relation that another schema has';
