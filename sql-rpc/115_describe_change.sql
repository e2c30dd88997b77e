-- describe_change(): records the schema with the newest change, where that has no description yet.
--
-- Describing a schema takes longer than many a migration, so it is done once: after the last version
-- of a run, or when the run ends early. The caller holds the lock, so nothing has changed since. A
-- schema that cannot be described is no reason to undo its change. Drift cannot be detected then.
create function ctx0_private.describe_change()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attempt uuid;
  v_objects jsonb;
begin
  select case when a.objects is null then a.attempt end into v_attempt from ctx0_private.latest_change() a;
  if v_attempt is null then
    return;
  end if;
  v_objects := ctx0_private.describe_schema();
  update ctx0_private.ctx0_schema_attempts
     set objects = v_objects, fingerprint = ctx0_private.fingerprint(p_objects => v_objects)
   where attempt = v_attempt;
exception when others then
  null;
end
$$;

comment on function ctx0_private.describe_change() is
  'ctx0: records the schema with the newest change';
