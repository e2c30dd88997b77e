-- table_problem(p_owner): why the tables of ctx0 must not be written to, with the remedy, or
-- null. The functions write to them as the owner, so a trigger or rule of another role
-- would run with the owner's privileges, and another role's table can get one at any time.
--
-- Arguments
--   p_owner  the role that the tables must belong to; a superuser's are accepted as well
create function ctx0_private.table_problem(p_owner name)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- Planning it takes longer than running it.
set plan_cache_mode = force_generic_plan
as $$
declare
  v_tables constant oid[] := array[
    to_regclass('public.ctx0_schema_versions'), to_regclass('public.ctx0_schema_attempts'),
    to_regclass('ctx0_private.ctx0_schema_attempts'), to_regclass('ctx0_private.ctx0_schema_cancellations'),
    to_regclass('ctx0_private.ctx0_schema_outside')];
begin
  -- It is asked before each version, and nearly always this is all that there is to know.
  if not exists (
       select from pg_class
        where oid = any (v_tables)
          and (relkind <> 'r' or relhastriggers or relhasrules or pg_get_userbyid(relowner) <> p_owner))
     and not exists (
       select from pg_namespace where nspname = 'ctx0_private' and pg_get_userbyid(nspowner) <> p_owner) then
    return null;
  end if;
  return (
    with tables as (
      select c.oid, c.relkind, c.relowner, format('%I.%I', n.nspname, c.relname) as name
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
       where c.oid = any (v_tables)
    ), problems (place, problem) as (
      select 1, format('%s is not a table: rename or drop it', name)
        from tables
       where relkind not in ('r', 'S')
      union all
      select 2, format('table %s belongs to %I and not to %I: if you trust its rows, run "alter table %1$s owner to %3$I"',
                       name, relowner::regrole, p_owner)
        from tables
       where relowner <> (select oid from pg_roles where rolname = p_owner)
         and not exists (select from pg_roles where oid = relowner and rolsuper)
      union all
      select 2, format('schema ctx0_private belongs to %I and not to %I: drop it, or run "alter schema ctx0_private owner to %2$I"',
                       nspowner::regrole, p_owner)
        from pg_namespace
       where nspname = 'ctx0_private' and nspowner <> (select oid from pg_roles where rolname = p_owner)
         and not exists (select from pg_roles where oid = nspowner and rolsuper)
      union all
      select 3, format('trigger %I on %s would run with the rights of %I: run "drop trigger %1$I on %2$s"', tgname, name, p_owner)
        from tables
        join pg_trigger on tgrelid = tables.oid and not tgisinternal
      union all
      select 3, format('rule %I on %s would run with the rights of %I: run "drop rule %1$I on %2$s"', rulename, name, p_owner)
        from tables
        join pg_rewrite on ev_class = tables.oid
       where relkind = 'r'
    )
    select problem from problems order by place, problem limit 1);
end
$$;

comment on function ctx0_private.table_problem(name) is
  'ctx0: why its tables must not be written to';

-- The installation must not adopt a table with another role's triggers.
do $$
declare
  v_problem text := ctx0_private.table_problem(p_owner => case
    when (select rolsuper from pg_catalog.pg_roles where rolname = current_user)
         and exists (select from pg_catalog.pg_roles where rolname = 'postgres')
    then 'postgres' else current_user end);
begin
  if v_problem is not null then
    raise object_not_in_prerequisite_state using
      message = v_problem,
      hint = 'Then run the text of install_sql() again.';
  end if;
end
$$;
