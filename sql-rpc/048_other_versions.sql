-- other_versions(p_version): the versions in the ledger without this one, as how many there are and a number
-- that changes when one of them is added or removed.
create function ctx0_private.other_versions(p_version integer)
returns bigint[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select array[count(*), coalesce(bit_xor(hashint4extended(version, 0)), 0)]
      from public.ctx0_schema_versions
     where version <> p_version);
end
$$;

comment on function ctx0_private.other_versions(integer) is
  'ctx0: the versions in the ledger without one of them, in two numbers';

-- with_version(p_others, p_version): other_versions() once this one was added, without looking at the ledger again.
create function ctx0_private.with_version(p_others bigint[], p_version integer)
returns bigint[]
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select array[p_others[1] + 1, p_others[2] # hashint4extended(p_version, 0)];
$$;

comment on function ctx0_private.with_version(bigint[], integer) is
  'ctx0: other_versions() once a version was added';
