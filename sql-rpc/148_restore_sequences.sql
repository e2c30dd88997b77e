-- restore_sequences(p_before, p_left): after a rehearsal, sets back the sequences that it has moved
-- for good, where that is safe: nobody has drawn from it since, nobody uses it now, and the table
-- of its column has no higher number.
--
-- Arguments
--   p_before  sequence_values() before the rehearsal
--   p_left    what used_sequences() last said of each
--
-- Result: those that stay moved, and those of which that cannot be known, as [{relation, from, to}];
-- from and to are null where they could not be read.
create function ctx0_private.restore_sequences(p_before jsonb, p_left jsonb)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
set lock_timeout = '50ms'
as $$
declare
  v_now      jsonb := ctx0_private.sequence_values(p_only => array(select k::oid from jsonb_object_keys(p_left) k));
  v_moved    jsonb := '[]';
  v_sequence record;
  v_highest  bigint;
  v_restored boolean;
begin
  for v_sequence in
    select c.oid, format('%I.%I', n.nspname, c.relname) as name, p_before -> l.key as old, v_now -> l.key as now, l.value as left,
           case when t.oid is not null then format('%I.%I', tn.nspname, t.relname) end as table_name, a.attname as column_name, q.seqincrement > 0 as rises
      from jsonb_each(p_left) l
      join pg_class c on c.oid = l.key::oid
      join pg_namespace n on n.oid = c.relnamespace
      join pg_sequence q on q.seqrelid = c.oid
      left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid
                           and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
      left join pg_class t on t.oid = d.refobjid
      left join pg_namespace tn on tn.oid = t.relnamespace
      left join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
     where v_now -> l.key is distinct from p_before -> l.key or not v_now ? l.key
  loop
    v_restored := false;
    begin
      if v_sequence.old is not null and v_sequence.now = v_sequence.left
         and not exists (select from pg_locks o
                          where o.locktype = 'relation' and o.relation = v_sequence.oid and o.pid <> pg_backend_pid()
                            and o.database = (select d.oid from pg_database d where d.datname = current_database())) then
        v_highest := null;
        if v_sequence.column_name is not null then
          execute format('select %s(%I) from %s', case when v_sequence.rises then 'max' else 'min' end,
                         v_sequence.column_name, v_sequence.table_name) into v_highest;
        end if;
        if v_highest is null or (v_sequence.old ->> 0)::bigint = v_highest
           or (v_highest < (v_sequence.old ->> 0)::bigint) = v_sequence.rises then
          perform setval(v_sequence.oid, (v_sequence.old ->> 0)::bigint, (v_sequence.old ->> 1)::boolean);
          v_restored := true;
        end if;
      end if;
    exception when others then
      null;
    end;
    if not v_restored then
      v_moved := v_moved || jsonb_build_object(
        'relation', v_sequence.name, 'from', v_sequence.old -> 0, 'to', v_sequence.now -> 0);
    end if;
  end loop;
  return v_moved;
end
$$;

comment on function ctx0_private.restore_sequences(jsonb, jsonb) is
  'ctx0: sets back the sequences that a rehearsal has moved';
