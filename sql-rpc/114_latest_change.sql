-- latest_change(): the newest attempt that changed which version the database has, or no row. Its
-- objects describe the schema as it was left; null where a run was interrupted before that.
create function ctx0_private.latest_change()
returns setof ctx0_private.ctx0_schema_attempts
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select *
    from ctx0_private.ctx0_schema_attempts a
   where a.outcome in ('applied', 'rolled_back')
      -- A repair that left the version as it was has no description.
      or a.outcome = 'recorded' and a.objects is not null
   order by a.finished_at desc
   limit 1;
$$;

comment on function ctx0_private.latest_change() is
  'ctx0: the newest attempt that changed which version the database has';
