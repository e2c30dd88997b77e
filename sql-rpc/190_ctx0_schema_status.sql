-- ctx0_schema_status(): the state of the database, for a person or a program.
--
-- Result: jsonb
--   rpc_version      the release of these functions (a counter)
--   server_version   PostgreSQL's version, such as "15.8"
--   current_version  the highest version in the ledger, 0 where it is empty
--   locked           whether a migration is running at this moment
--   position         where it is, as position_of(), or null
--   owner            the role that runs migrations
--   ledger           the ledger's rows, lowest version first
--   reversible       the versions whose down SQL is stored
--   unrecorded       the names of the objects of ctx0, each with its kind, where the ledger is empty; else empty
--   last_attempt     the newest row of ctx0_schema_attempts without its texts, or null
-- Errors: 42501 for anyone but the service role and the owner.
-- Who may call it: service_role.
create function public.ctx0_schema_status()
returns ctx0_private.answer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_running constant jsonb := ctx0_private.running();
begin
  perform ctx0_private.check_caller();
  return ctx0_private.answer(p_fields => jsonb_build_object(
    'server_version', current_setting('server_version'),
    'current_version', ctx0_private.current_version(),
    'locked', v_running ->> 'held_by' is not distinct from 'change',
    'position', case v_running ->> 'held_by' when 'change' then v_running -> 'position' end,
    'owner', current_user,
    'ledger', (
      select coalesce(jsonb_agg(to_jsonb(v) order by v.version), '[]')
        from public.ctx0_schema_versions v
    ),
    'reversible', (
      select coalesce(jsonb_agg(v.version order by v.version), '[]')
        from public.ctx0_schema_versions v
        join ctx0_private.ctx0_schema_attempts a on a.attempt = v.attempt
       where a.down_sql is not null
    ),
    'unrecorded', (
      select coalesce(jsonb_agg(o.kind || ' ' || o.name order by o.kind, o.name), '[]')
        from ctx0_private.schema_objects(p_ours => true) o
       where ctx0_private.current_version() = 0
    ),
    'last_attempt', (
      select to_jsonb(a) - '{down_sql,result,objects}'::text[]
        from ctx0_private.ctx0_schema_attempts a
       order by a.finished_at desc
       limit 1
    )
  ));
end
$$;

comment on function public.ctx0_schema_status() is
  'ctx0: version, ledger and lock of the ctx0 schema';
