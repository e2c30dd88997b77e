-- A release may describe objects differently from the one before. Where the schema was as the
-- last change left it, the description of that change is recorded again as this release words
-- it, so that installing it is no drift.
update ctx0_private.ctx0_schema_attempts a
   set objects = now.objects,
       fingerprint = ctx0_private.fingerprint(p_objects => now.objects),
       server_version = pg_catalog.current_setting('server_version_num')::integer
  from (select ctx0_private.describe_schema() as objects) now
 where pg_catalog.current_setting('ctx0.is_unchanged') = 'true'
   and a.attempt = (select l.attempt from ctx0_private.latest_change() l);

notify pgrst, 'reload schema';
