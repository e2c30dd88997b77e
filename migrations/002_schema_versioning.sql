-- ctx0, version 2: the ledger of applied versions.
--
-- Run it as a whole, in one transaction, as an SQL editor does. It may be run
-- again at any time, and over a ledger that was made by hand: rows that are
-- there stay as they are.

create table if not exists public.ctx0_schema_versions (
  id serial primary key,
  version int not null unique,
  migration_name text not null,
  description text,
  applied_at timestamptz default pg_catalog.now(),
  applied_by text default 'bot0-daemon'
);

comment on table public.ctx0_schema_versions is
  'The versions of the ctx0 schema that this database has, one row each.';

-- Access: the installed ctx0 functions write the ledger as its owner. The
-- service key reads it, nobody else does anything.

-- No policy follows, so this lets no row through to any other role, whatever
-- is granted to it later.
alter table public.ctx0_schema_versions enable row level security;

revoke all on table public.ctx0_schema_versions from public;
revoke all on sequence public.ctx0_schema_versions_id_seq from public;

do $$
declare
  api_role text;
begin
  -- Supabase's default privileges give its roles every new object, each by
  -- name, so each must be revoked by name. A plain PostgreSQL lacks the roles.
  for api_role in
    select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated', 'service_role')
  loop
    execute pg_catalog.format('revoke all on table public.ctx0_schema_versions from %I', api_role);
    execute pg_catalog.format('revoke all on sequence public.ctx0_schema_versions_id_seq from %I', api_role);
    if api_role = 'service_role' then
      grant select on table public.ctx0_schema_versions to service_role;
    end if;
  end loop;

  -- The editor of older self-hosted Supabase runs this as its superuser. Later
  -- migrations run as `postgres`, which must then own what they change.
  if (select rolsuper from pg_catalog.pg_roles where rolname = current_user)
    and exists (select from pg_catalog.pg_roles where rolname = 'postgres')
  then
    alter table public.ctx0_schema_versions owner to postgres;
  end if;
end
$$;

-- Run by hand, nobody else records the versions, so this does. The function
-- ctx0_apply_migration has recorded them before it runs this, and nothing
-- happens here. Version 2 rests on version 1, so neither is recorded where the
-- tables of version 1 are not there: then both are still to be applied.
insert into public.ctx0_schema_versions (version, migration_name, description, applied_by)
select version, migration_name, description, 'by hand'
from (values
  (1, '001_ctx0_schema', 'Initial ctx0 schema with entries, sessions, queries'),
  (2, '002_schema_versioning', 'Added schema version tracking table')
) as by_hand (version, migration_name, description)
where pg_catalog.to_regclass('public.ctx0_sessions') is not null
  and pg_catalog.to_regclass('public.ctx0_entries') is not null
  and pg_catalog.to_regclass('public.ctx0_queries') is not null
order by version
on conflict (version) do nothing;
