-- has_numbers_beyond(p_sequence, p_value): whether the column that owns a sequence holds numbers that
-- come after this one. Null where no column owns it.
create function ctx0_private.has_numbers_beyond(p_sequence oid, p_value bigint)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
set row_security = off
set jit = off
as $$
declare
  v_query  text;
  v_result boolean;
begin
  select format('select exists (select from %I.%I where %I %s $1)', n.nspname, c.relname, a.attname,
                case when q.seqincrement > 0 then '>' else '<' end)
    into v_query
    from pg_sequence q
    join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = q.seqrelid
                    and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
    join pg_class c on c.oid = d.refobjid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum = d.refobjsubid
   where q.seqrelid = p_sequence;
  if v_query is not null then
    execute v_query into v_result using p_value;
  end if;
  return v_result;
end
$$;

comment on function ctx0_private.has_numbers_beyond(oid, bigint) is
  'ctx0: whether the column of a sequence holds later numbers';
