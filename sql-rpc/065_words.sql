-- words(p_text): the names that a text could mean: its words in lower case, and what stands
-- between double quotes.
create function ctx0_private.words(p_text text)
returns text[]
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select array(
    select distinct lower(w.word[1]) from regexp_matches(p_text, '[[:alnum:]_$]+', 'g') w (word)
    union
    select replace(q.word[1], '""', '"') from regexp_matches(p_text, '"((?:[^"]|"")+)"', 'g') q (word));
$$;

comment on function ctx0_private.words(text) is
  'ctx0: the names that a text could mean';
