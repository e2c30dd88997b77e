-- reprint(p_object, p_part, p_head, p_text): how PostgreSQL prints what stands between
-- two marks of a definition, after parsing it.
--
-- Arguments
--   p_object  the kind and the name of the object, such as "table public.ctx0_entries"
--   p_part    the part of its definition, such as policy
--   p_head    the definition in front of the first mark
--   p_text    what stands between the marks
--
-- Result: printed, or else one of
--   unreadable  why PostgreSQL cannot parse the text, such as a column that is gone
--   unknown     why PostgreSQL could not be asked
--
-- The text becomes a temporary view, function or rule and is printed from there. A view is only
-- parsed, so nothing is computed, no function is called, and live tables are locked as by a reader.
-- All of it is rolled back before the function returns. No event trigger runs: they are switched off
-- where the role may do so, and otherwise nothing is created.
create function ctx0_private.reprint(
  p_object       text,
  p_part         text,
  p_head         text,
  p_text         text,
  out printed    text,
  out unreadable text,
  out unknown    text
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_kind   constant text := left(p_object, strpos(p_object, ' public.') - 1);
  v_name   constant text := substr(p_object, strpos(p_object, ' public.') + 1);
  v_switch text;
begin
  foreach v_switch in array array['event_triggers = off', 'session_replication_role = replica'] loop
    exit when ctx0_private.event_triggers() is null;
    begin
      execute 'set local ' || v_switch;
    exception when insufficient_privilege or undefined_object then
      null;
    end;
  end loop;
  unknown := 'the event trigger ' || ctx0_private.event_triggers() || ' would run';
  if unknown is not null then
    null;
  elsif p_part = 'body' and v_kind in ('view', 'materialized view') then
    execute 'create temp view ctx0_reprint as ' || p_text;
    printed := pg_get_viewdef('pg_temp.ctx0_reprint'::regclass);
  elsif p_part = 'body' and v_kind in ('function', 'procedure') then
    -- Under its own name, which stands in front of its arguments where its body uses them.
    execute regexp_replace(p_head, ' public\.', ' pg_temp.') || p_text;
    printed := (select pg_get_functiondef(p.oid) from pg_proc p
                 where p.pronamespace = pg_my_temp_schema()
                   and p.proname = (parse_ident(substr(p_head, strpos(p_head, ' public.') + 1)))[2]);
  elsif p_part = 'rule' then
    execute format('create temp table ctx0_reprint (like %s)', v_name);
    execute format('create rule ctx0_reprint as %s to pg_temp.ctx0_reprint %s', p_head, p_text);
    printed := (select pg_get_ruledef(r.oid) from pg_rewrite r
                 where r.ev_class = 'pg_temp.ctx0_reprint'::regclass);
  else
    -- `row` takes lists as well, which a partition key can be.
    execute format('create temp view ctx0_reprint as select 1 as x from %s where row(%s) is null',
      case when v_kind = 'type' then (
             select format('(select null::%s) v (value)', format_type(t.typbasetype, t.typtypmod))
               from pg_type t
              where t.oid = to_regtype(v_name))
           when p_part = 'trigger' then format('%1$s old, %1$s new', v_name)
           else v_name end,
      p_text);
    printed := pg_get_viewdef('pg_temp.ctx0_reprint'::regclass);
  end if;
  raise sqlstate 'CTX00';
exception
  when sqlstate 'CTX00' then
    null;
  when insufficient_privilege or read_only_sql_transaction or program_limit_exceeded then
    unknown := sqlerrm;
  when syntax_error_or_access_rule_violation or data_exception or feature_not_supported or invalid_schema_name then
    unreadable := sqlerrm;
end
$$;

comment on function ctx0_private.reprint(text, text, text, text) is
  'ctx0: how PostgreSQL prints a part of a definition after parsing it';
