-- answer: what every function of ctx0 in public returns. The type marks those functions
-- as ours, and it cannot hold an answer without the release of the functions.
create domain ctx0_private.answer as jsonb
  check (value ? 'rpc_version');

comment on domain ctx0_private.answer is
  'ctx0: an answer to a client, with the release of the installed functions';

-- answer(p_fields): the answer with these fields. The only place that knows the release.
create function ctx0_private.answer(p_fields jsonb)
returns ctx0_private.answer
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select p_fields || jsonb_build_object('rpc_version', 3);
$$;

comment on function ctx0_private.answer(jsonb) is
  'ctx0: an answer to a client';
