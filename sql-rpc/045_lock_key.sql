-- lock_key(): the first key of the advisory locks of ctx0 ("ctx0" in ASCII). The second is
--   1  the schema is being changed or rehearsed
--   2  it is being rehearsed
-- Four more first keys, lock_key() + 16 to + 19, carry the id of a running attempt: show_attempt().
-- lock_key() + 20 belongs to the call that cancels an attempt.
create function ctx0_private.lock_key()
returns integer
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select 1668577328;
$$;

comment on function ctx0_private.lock_key() is
  'ctx0: the first key of its advisory locks';
