-- ledger_hash(p_version, p_name, p_checksum, p_attempt): a number for what a row of the ledger says.
create function ctx0_private.ledger_hash(p_version integer, p_name text, p_checksum text, p_attempt uuid)
returns bigint
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select hashtextextended(concat_ws(' ', p_version, p_attempt, p_checksum, p_name), 0);
$$;

comment on function ctx0_private.ledger_hash(integer, text, text, uuid) is
  'ctx0: a number for what a row of the ledger says';

-- other_versions(p_version): the versions in the ledger without this one, as how many there are and a number
-- that changes when one of them is added, removed or changed.
create function ctx0_private.other_versions(p_version integer)
returns bigint[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select array[count(*), coalesce(bit_xor(ctx0_private.ledger_hash(version, migration_name, checksum, attempt)), 0)]
      from public.ctx0_schema_versions
     where version <> p_version);
end
$$;

comment on function ctx0_private.other_versions(integer) is
  'ctx0: the versions in the ledger without one of them, in two numbers';

-- with_version(p_others, ...): other_versions() once this one was added, without looking at the ledger again.
create function ctx0_private.with_version(p_others bigint[], p_version integer, p_name text, p_checksum text, p_attempt uuid)
returns bigint[]
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select array[p_others[1] + 1, p_others[2] # ctx0_private.ledger_hash(p_version, p_name, p_checksum, p_attempt)];
$$;

comment on function ctx0_private.with_version(bigint[], integer, text, text, uuid) is
  'ctx0: other_versions() once a version was added';
