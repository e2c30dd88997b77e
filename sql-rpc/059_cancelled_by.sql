-- cancelled_by(p_attempt): who asked to end this attempt, or null. A request that is committed while the
-- attempt runs is seen: a volatile function reads what is committed by now.
create function ctx0_private.cancelled_by(p_attempt uuid)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select c.cancelled_by from ctx0_private.ctx0_schema_cancellations c where c.attempt = p_attempt);
end
$$;

comment on function ctx0_private.cancelled_by(uuid) is
  'ctx0: who asked to end an attempt';
