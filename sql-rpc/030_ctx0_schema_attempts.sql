-- One row for each request to change the schema that was decided, whatever the
-- decision: the audit of failures, and the memory that makes a repeated request
-- harmless. `result` is the answer that was given, and is given again to every
-- later copy of the same request.
create table if not exists public.ctx0_schema_attempts (
  attempt     uuid primary key,
  action      text not null,
  version     integer not null,
  outcome     text not null,
  checksum    text,
  down_sql    text[],
  sqlstate    text,
  message     text,
  applied_by  text,
  started_at  timestamptz not null,
  finished_at timestamptz not null,
  result      jsonb not null
);

alter table public.ctx0_schema_attempts
  add column if not exists backup_by      text,
  add column if not exists fingerprint    text,
  add column if not exists objects        jsonb,
  add column if not exists server_version integer;

-- In the first release it was one text.
do $$
begin
  if exists (select from pg_catalog.pg_attribute
              where attrelid = 'public.ctx0_schema_attempts'::regclass and attname = 'down_sql'
                and atttypid = 'text'::regtype) then
    alter table public.ctx0_schema_attempts
      alter column down_sql type text[] using case when down_sql is not null then array[down_sql] end;
  end if;
end
$$;

create index if not exists ctx0_schema_attempts_version_idx
  on public.ctx0_schema_attempts (version, finished_at desc);

comment on table public.ctx0_schema_attempts is
  'ctx0: every decided request to change the schema, with the answer that it got';
comment on column public.ctx0_schema_attempts.outcome is
  'applied, already_applied, rolled_back, already_rolled_back, conflict or failed';
comment on column public.ctx0_schema_attempts.down_sql is
  'The statements that take the version back, as they were known when the version was applied';
comment on column public.ctx0_schema_attempts.backup_by is
  'Who said that there is a backup; null where nobody was asked';
comment on column public.ctx0_schema_attempts.objects is
  'The objects of ctx0 with their definitions, as the change left them';
comment on column public.ctx0_schema_attempts.fingerprint is
  'SHA-256 (hex) of objects';
comment on column public.ctx0_schema_attempts.server_version is
  'PostgreSQL''s version (server_version_num): another major version may word definitions otherwise';

alter table public.ctx0_schema_attempts enable row level security;

revoke all on table public.ctx0_schema_attempts from public, anon, authenticated, service_role;
grant select on table public.ctx0_schema_attempts to service_role;
