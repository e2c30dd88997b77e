-- running(): what has the lock of the schema at this moment: change, rehearsal, or null where it is free.
create function ctx0_private.running()
returns text
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  -- A rehearsal holds the lock of a change, and a second one that marks it as a rehearsal.
  select case when 2 = any (holder.locks) then 'rehearsal' else 'change' end
    from (
      select array_agg(l.objid::integer) as locks
        from pg_locks l
       where l.locktype = 'advisory' and l.granted
         and l.database = (select oid from pg_database where datname = current_database())
         and l.classid = ctx0_private.lock_key() and l.objid in (1, 2) and l.objsubid = 2
       group by l.pid
    ) holder
   where 1 = any (holder.locks);
$$;

comment on function ctx0_private.running() is
  'ctx0: what has the lock of the schema at this moment';
