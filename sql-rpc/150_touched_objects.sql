-- touched_objects(): the objects that this transaction has made, changed or dropped so far, and no
-- others: those whose row in the catalog it has written, and those that it has locked as a change
-- does. What other sessions change at the same time is not included.
--
-- A row that is visible although the transaction that wrote it is still in progress is our own;
-- this also holds for the numbers of subtransactions.
create function ctx0_private.touched_objects()
returns oid[]
language sql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  with written (id, xmin) as (
    select coalesce(i.indrelid, c.oid), c.xmin
      from pg_class c
      left join pg_index i on i.indexrelid = c.oid
     where age(c.xmin) <= 0
    union all select attrelid, xmin from pg_attribute where age(xmin) <= 0
    union all select adrelid, xmin from pg_attrdef where age(xmin) <= 0
    union all select seqrelid, xmin from pg_sequence where age(xmin) <= 0
    union all select conrelid, xmin from pg_constraint where age(xmin) <= 0
    union all select contypid, xmin from pg_constraint where age(xmin) <= 0
    union all select tgrelid, xmin from pg_trigger where age(xmin) <= 0
    union all select polrelid, xmin from pg_policy where age(xmin) <= 0
    union all select ev_class, xmin from pg_rewrite where age(xmin) <= 0
    union all select stxrelid, xmin from pg_statistic_ext where age(xmin) <= 0
    union all select prrelid, xmin from pg_publication_rel where age(xmin) <= 0
    union all select oid, xmin from pg_publication where age(xmin) <= 0
    union all select oid, xmin from pg_proc where age(xmin) <= 0
    union all select oid, xmin from pg_type where age(xmin) <= 0
    union all select enumtypid, xmin from pg_enum where age(xmin) <= 0
    union all select oid, xmin from pg_namespace where age(xmin) <= 0
    union all select oid, xmin from pg_extension where age(xmin) <= 0
    union all select oid, xmin from pg_default_acl where age(xmin) <= 0
    union all select member, xmin from pg_auth_members where age(xmin) <= 0
  )
  select array(
    select w.id
      from written w
     where pg_xact_status((pg_current_xact_id()::text::bigint - age(w.xmin))::text::xid8) = 'in progress'
    union
    select coalesce(i.indrelid, l.relation)
      from pg_locks l
      left join pg_index i on i.indexrelid = l.relation
     where l.locktype = 'relation' and l.granted and l.pid = pg_backend_pid()
       and l.mode in ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    union
    select l.objid
      from pg_locks l
     where l.locktype = 'object' and l.granted and l.pid = pg_backend_pid() and l.mode = 'AccessExclusiveLock'
    union
    -- Whose attributes change is written to a catalog that only a superuser reads.
    select oid from pg_roles where rolname in ('anon', 'authenticated', 'service_role'));
$$;

comment on function ctx0_private.touched_objects() is
  'ctx0: the objects that this transaction has made, changed or dropped';
