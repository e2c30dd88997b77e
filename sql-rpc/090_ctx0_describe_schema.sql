-- ctx0_describe_schema(): the objects of ctx0 with their definitions, as
-- {"table public.ctx0_entries": [[part, name, definition], …], …}: what is recorded with
-- each version, and compared when somebody asks whether the schema has drifted.
--
-- Who may call it: only the functions of this folder.
create function public.ctx0_describe_schema()
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.ctx0_check_caller();
  return (
    select coalesce(jsonb_object_agg(o.kind || ' ' || o.name, to_jsonb(o.definition[:][1:3])), '{}')
      from public.ctx0_schema_objects(true) o
  );
end
$$;

comment on function public.ctx0_describe_schema() is
  'ctx0: the objects of ctx0 with their definitions';
revoke all on function public.ctx0_describe_schema() from public, anon, authenticated, service_role;
