-- answer: the return type of every ctx0 function in public. It marks those functions as
-- ours, and it cannot hold a response without the RPC release. It never changes.
do $$
begin
  if pg_catalog.to_regtype('ctx0_private.answer') is null then
    create domain ctx0_private.answer as jsonb
      check (value ? 'rpc_version');
  end if;
end
$$;

comment on domain ctx0_private.answer is
  'ctx0: a response to a client, with the RPC release';

-- answer(p_fields): a response with these fields. The only place that knows the RPC release.
create function ctx0_private.answer(p_fields jsonb)
returns ctx0_private.answer
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select p_fields || jsonb_build_object('rpc_version', 3);
$$;

comment on function ctx0_private.answer(jsonb) is
  'ctx0: a response to a client';
