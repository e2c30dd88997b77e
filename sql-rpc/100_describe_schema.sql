-- describe_schema(): the objects of ctx0 with their definitions, as
--   {"format": 3, "objects": {"table public.ctx0_entries": [[part, name, definition], ...], ...}}
-- It is recorded with each version, and compared by ctx0_verify_schema. `format` counts the ways in
-- which releases describe a schema: only two descriptions of the same format can be compared. Raise
-- it whenever schema_objects describes more, or differently.
create function ctx0_private.describe_schema()
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object('format', 3, 'objects', (
    select coalesce(jsonb_object_agg(o.kind || ' ' || o.name, to_jsonb(o.definition[:][1:3])), '{}')
      from ctx0_private.schema_objects(p_ours => true) o
  ));
end
$$;

comment on function ctx0_private.describe_schema() is
  'ctx0: the objects of ctx0 with their definitions';

-- fingerprint(p_objects): SHA-256 (hex) of a description.
create function ctx0_private.fingerprint(p_objects jsonb)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return encode(sha256(convert_to(p_objects::text, 'UTF8')), 'hex');
end
$$;

comment on function ctx0_private.fingerprint(jsonb) is
  'ctx0: SHA-256 of a description';
