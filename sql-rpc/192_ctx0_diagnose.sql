-- ctx0_diagnose(p_extensions): what a doctor wants to know of the server. Reads only.
--
-- Arguments
--   p_extensions  the extensions that the migrations name
--
-- Result: jsonb
--   rpc_version
--   read_only       whether nothing can be written: a replica, or a transaction that only reads
--   read_only_by_default  whether transactions only read unless they ask to write
--   database_bytes  the size of the database; null where this role may not see it
--   timeouts        {statement_ms, transaction_ms: of the role, 0: none; functions_ms: the longest of the installed functions}
--   max_rows        how many rows PostgREST returns at most, where the database configures it; else null
--   extensions      for each of p_extensions {name, schema: where it is installed or null, available: whether it
--                   can be}
-- Errors: 42501 for anyone but the service role and the owner.
-- Who may call it: service_role.
--
-- It has no statement_timeout of its own, so it sees that of the role.
create function public.ctx0_diagnose(p_extensions text[] default '{}')
returns ctx0_private.answer
language plpgsql
-- Not stable: PostgREST would call it in a transaction that is read-only.
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bytes bigint;
begin
  perform ctx0_private.check_caller();
  begin
    v_bytes := pg_database_size(current_database());
  exception when others then
    null;
  end;
  return ctx0_private.answer(p_fields => jsonb_build_object(
    'read_only', pg_is_in_recovery() or current_setting('transaction_read_only')::boolean,
    'read_only_by_default', current_setting('default_transaction_read_only')::boolean,
    'database_bytes', v_bytes,
    'timeouts', jsonb_build_object(
      'statement_ms', (extract(epoch from current_setting('statement_timeout')::interval) * 1000)::bigint,
      -- Since PostgreSQL 17.
      'transaction_ms', (extract(epoch from coalesce(current_setting('transaction_timeout', true), '0')::interval) * 1000)::bigint,
      'functions_ms', (
        select (extract(epoch from max(split_part(s.setting, '=', 2)::interval)) * 1000)::bigint
          from pg_depend d
          join pg_proc p on p.oid = d.objid
         cross join unnest(p.proconfig) s (setting)
         where d.refclassid = 'pg_type'::regclass and d.refobjid = 'ctx0_private.answer'::regtype
           and d.classid = 'pg_proc'::regclass and s.setting ^@ 'statement_timeout=')),
    'max_rows', nullif(current_setting('pgrst.db_max_rows', true), ''),
    'extensions', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'name', n.name, 'schema', e.extnamespace::regnamespace::text, 'available', a.name is not null) order by n.name), '[]')
        from unnest(p_extensions) n (name)
        left join pg_extension e on e.extname = n.name
        left join pg_available_extensions a on a.name = n.name)));
end
$$;

comment on function public.ctx0_diagnose(text[]) is
  'ctx0: what a doctor wants to know of the server';
