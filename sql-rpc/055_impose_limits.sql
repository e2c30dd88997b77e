-- impose_limits(p_lock_timeout): makes sure that the next statement waits at most so long for a
-- lock. Called before each statement of a migration, because the header of every pg_dump says
-- `set lock_timeout = 0`. A shorter timeout of the migration's own stays.
create function ctx0_private.impose_limits(p_lock_timeout interval)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_set constant interval := current_setting('lock_timeout')::interval;
begin
  if v_set = '0' or v_set > p_lock_timeout then
    perform set_config('lock_timeout', format('%sms', extract(epoch from p_lock_timeout) * 1000)::text, true);
  end if;
end
$$;

comment on function ctx0_private.impose_limits(interval) is
  'ctx0: limits how long the next statement waits for a lock';
