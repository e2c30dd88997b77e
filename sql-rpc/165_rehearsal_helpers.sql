-- used_sequences(p_protected): the sequences that this transaction has drawn from or set, but for those
-- that were protected before, with their values now, as sequence_values(). The value is null where it
-- cannot be read, and where the migration has given the sequence a new file since. The locks
-- that tell this stay when a subtransaction is rolled back.
create function ctx0_private.used_sequences(p_protected oid[])
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  with used as materialized (
    select s.seqrelid as id, exists (
             select from pg_locks o
              where o.locktype = 'relation' and o.pid = l.pid and o.relation = l.relation
                and o.mode in ('ShareRowExclusiveLock', 'AccessExclusiveLock')) as replaced
      from pg_locks l
      join pg_sequence s on s.seqrelid = l.relation
     where l.locktype = 'relation' and l.pid = pg_backend_pid() and l.mode = 'RowExclusiveLock'
       and s.seqrelid <> all (p_protected)
  ), now as materialized (
    select ctx0_private.sequence_values(p_only => array(select id from used)) as values
  )
  select coalesce(jsonb_object_agg(u.id, case when not u.replaced then n.values -> u.id::text end), '{}')
    from used u
   cross join now n;
$$;

comment on function ctx0_private.used_sequences(oid[]) is
  'ctx0: the sequences that this transaction has moved';

-- restarted_sequences(p_before): the sequences that this transaction has set to a number that they
-- have passed, as [{relation, from, to}], and that may now give numbers that are in use. Where the column
-- of the sequence has no later numbers, none is. from is null for one that it has made for a column which has
-- later numbers.
create function ctx0_private.restarted_sequences(p_before jsonb)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_restarted jsonb := '[]';
  v_sequence  record;
  v_repeats   boolean;
begin
  for v_sequence in
    select c.oid, format('%I.%I', n.nspname, c.relname) as name, p_before -> v.key -> 0 as old, v.value -> 0 as now, u.last
      from jsonb_each(ctx0_private.sequence_values(p_only => array(
             select l.relation
               from pg_locks l
               join pg_sequence s on s.seqrelid = l.relation
              where l.locktype = 'relation' and l.pid = pg_backend_pid() and l.mode <> 'AccessShareLock'))) v
      join pg_sequence q on q.seqrelid = v.key::oid
      join pg_class c on c.oid = q.seqrelid
      join pg_namespace n on n.oid = c.relnamespace
     cross join lateral (
             select (v.value -> 0)::bigint - case when (v.value -> 1)::boolean then 0 else q.seqincrement end as last) u
     where not p_before ? v.key
        or (p_before -> v.key -> 1)::boolean
           and sign(q.seqincrement) * (u.last - (p_before -> v.key -> 0)::numeric) < 0
  loop
    begin
      v_repeats := coalesce(ctx0_private.has_numbers_beyond(p_sequence => v_sequence.oid, p_value => v_sequence.last),
                            v_sequence.old is not null);
    exception when others then
      v_repeats := v_sequence.old is not null;
    end;
    if v_repeats then
      v_restarted := v_restarted
        || jsonb_build_object('relation', v_sequence.name, 'from', v_sequence.old, 'to', v_sequence.now);
    end if;
  end loop;
  return v_restarted;
end
$$;

comment on function ctx0_private.restarted_sequences(jsonb) is
  'ctx0: the sequences that may give numbers that are in use';

-- is_added_value(p_message): whether the message is about an enum value that an earlier version of the
-- same rehearsal has added. It can be used once that version is applied.
create function ctx0_private.is_added_value(p_message text)
returns boolean
language sql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  select exists (
    select from pg_enum e
     where age(e.xmin) <= 0 and strpos(p_message, '"' || e.enumlabel || '"') > 0
       and pg_xact_status((pg_current_xact_id()::text::bigint - age(e.xmin))::text::xid8) = 'in progress');
$$;

comment on function ctx0_private.is_added_value(text) is
  'ctx0: whether a message is about an enum value that this transaction has added';

-- defer_constraints(): defers the constraints that are deferred at the start of a transaction. Each
-- version has its own transaction when it is applied.
create function ctx0_private.defer_constraints()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_constraint text;
begin
  for v_constraint in
    select format('%I.%I', n.nspname, c.conname)
      from pg_constraint c
      join pg_namespace n on n.oid = c.connamespace
     where c.condeferred and has_schema_privilege(n.oid, 'usage')
  loop
    begin
      execute format('set constraints %s deferred', v_constraint);
    exception when others then
      null; -- Dropped meanwhile.
    end;
  end loop;
end
$$;

comment on function ctx0_private.defer_constraints() is
  'ctx0: defers the constraints that are deferred at the start of a transaction';
