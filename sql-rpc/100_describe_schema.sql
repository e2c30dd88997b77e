-- describe_schema(): the objects of ctx0 with their definitions, as
-- {"table public.ctx0_entries": [[part, name, definition], …], …}: what is recorded with
-- each version, and compared when somebody asks whether the schema has drifted.
create function ctx0_private.describe_schema()
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(jsonb_object_agg(o.kind || ' ' || o.name, to_jsonb(o.definition[:][1:3])), '{}')
      from ctx0_private.schema_objects(true) o
  );
end
$$;

comment on function ctx0_private.describe_schema() is
  'ctx0: the objects of ctx0 with their definitions';
