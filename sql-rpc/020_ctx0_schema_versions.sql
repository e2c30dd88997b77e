-- The ledger: one row for each version that this database has.
-- The first six columns are those of migration 002, which finds them here when
-- it runs. The others are added, so that a ledger made by hand gets them too.
create table if not exists public.ctx0_schema_versions (
  id             serial primary key,
  version        integer not null unique,
  migration_name text not null,
  description    text,
  applied_at     timestamptz default now(),
  applied_by     text default 'bot0-daemon'
);

alter table public.ctx0_schema_versions
  add column if not exists checksum        text,
  add column if not exists execution_ms    bigint,
  add column if not exists attempt         uuid,
  add column if not exists breaking        boolean,
  add column if not exists min_app_version text;

comment on table public.ctx0_schema_versions is
  'The versions of the ctx0 schema that this database has, one row each.';
comment on column public.ctx0_schema_versions.checksum is
  'SHA-256 (hex) of the migration that ran; null where the version was recorded by hand';
comment on column public.ctx0_schema_versions.execution_ms is
  'Milliseconds that the migration took; null where the version was recorded by hand';
comment on column public.ctx0_schema_versions.attempt is
  'The row of ctx0_private.ctx0_schema_attempts that applied this version; null where it was recorded by hand';
comment on column public.ctx0_schema_versions.breaking is
  'Whether apps that do not know this version can no longer work with the database; null where that is not known';
comment on column public.ctx0_schema_versions.min_app_version is
  'The oldest app that can work with this version; null where that is not known';

alter table public.ctx0_schema_versions enable row level security;

-- Supabase's service role is exempt from row level security. One that was made by hand may not be, and would read an empty
-- ledger.
do $$
begin
  if not exists (
       select from pg_catalog.pg_policies
        where schemaname = 'public' and tablename = 'ctx0_schema_versions' and policyname = 'ctx0_service_role') then
    create policy ctx0_service_role on public.ctx0_schema_versions for select to service_role using (true);
  end if;
end
$$;
