-- other_versions(p_version): the versions in the ledger without this one, as a short text that changes when one
-- of them is added or removed.
create function ctx0_private.other_versions(p_version integer)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select concat_ws(' ', count(*), bit_xor(hashint4extended(version, 0)))
      from public.ctx0_schema_versions
     where version <> p_version);
end
$$;

comment on function ctx0_private.other_versions(integer) is
  'ctx0: the versions in the ledger without one of them, in a short text';
