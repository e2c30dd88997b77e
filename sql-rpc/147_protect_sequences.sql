-- protect_sequences(p_text): gives each sequence that a text names, or whose table it names, a new
-- file in this transaction. Numbers are then drawn from there, and the old file comes back when the
-- transaction is rolled back. A sequence that is in use at this moment is left alone.
--
-- Result: those that are protected.
create function ctx0_private.protect_sequences(p_text text)
returns oid[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
set lock_timeout = '50ms'
as $$
declare
  v_sequence  record;
  v_protected oid[] := '{}';
begin
  for v_sequence in
    with names as materialized (
      select unnest(ctx0_private.words(p_text => p_text)) as name
    )
    select distinct c.oid, format('%I.%I cache %s', n.nspname, c.relname, s.seqcache) as change
      from pg_sequence s
      join pg_class c on c.oid = s.seqrelid
      join pg_namespace n on n.oid = c.relnamespace
      left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid
                           and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
      left join pg_class t on t.oid = d.refobjid
     where pg_has_role(c.relowner, 'usage') and c.relpersistence <> 't' and has_schema_privilege(n.oid, 'usage')
       and (t.oid = 'public.ctx0_schema_versions'::regclass
            or c.relname::text in (select name from names) or t.relname::text in (select name from names))
  loop
    begin
      execute 'alter sequence ' || v_sequence.change;
      v_protected := v_protected || v_sequence.oid;
    exception when others then
      null;
    end;
  end loop;
  return v_protected;
end
$$;

comment on function ctx0_private.protect_sequences(text) is
  'ctx0: makes sequences return to their numbers after a rehearsal';
