-- current_version(): the highest version in the ledger, 0 where it is empty.
create function ctx0_private.current_version()
returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- It is asked for each version, with a plan that was made when the ledger was short.
set enable_seqscan = off
as $$
begin
  return (
    select coalesce(max(v.version), 0) from public.ctx0_schema_versions v);
end
$$;

comment on function ctx0_private.current_version() is
  'ctx0: the highest version in the ledger';
