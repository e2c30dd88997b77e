-- impose_limits(p_lock_timeout): makes sure that the next statement waits at most so long for a
-- lock, and that its strings are read as the client read them when it cut the text into statements.
-- Called before each statement of a migration: the header of every pg_dump says
-- `set lock_timeout = 0`, and the database, the role or a `do` block may have set
-- standard_conforming_strings. A shorter lock_timeout of the migration's own stays.
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
  if not current_setting('standard_conforming_strings')::boolean then
    perform set_config('standard_conforming_strings', 'on', true);
  end if;
end
$$;

comment on function ctx0_private.impose_limits(interval) is
  'ctx0: limits how long the next statement waits for a lock, and fixes how its strings are read';
