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
  v_restored boolean;
begin
  for v_sequence in
    select c.oid, format('%I.%I', n.nspname, c.relname) as name, p_before -> l.key as old, v_now -> l.key as now, l.value as left
      from jsonb_each(p_left) l
      join pg_class c on c.oid = l.key::oid
      join pg_namespace n on n.oid = c.relnamespace
     where v_now -> l.key is distinct from p_before -> l.key or not v_now ? l.key
  loop
    v_restored := false;
    begin
      if v_sequence.old is not null and v_sequence.now = v_sequence.left
         and not exists (select from pg_locks o
                          where o.locktype = 'relation' and o.relation = v_sequence.oid and o.pid <> pg_backend_pid()
                            and o.database = (select d.oid from pg_database d where d.datname = current_database()))
         and ctx0_private.has_numbers_beyond(
               p_sequence => v_sequence.oid, p_value => (v_sequence.old ->> 0)::bigint) is not true then
        perform setval(v_sequence.oid, (v_sequence.old ->> 0)::bigint, (v_sequence.old ->> 1)::boolean);
        v_restored := true;
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
