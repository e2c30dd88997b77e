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
  down_sql    text,
  sqlstate    text,
  message     text,
  applied_by  text,
  started_at  timestamptz not null,
  finished_at timestamptz not null,
  result      jsonb not null
);

create index if not exists ctx0_schema_attempts_version_idx
  on public.ctx0_schema_attempts (version, finished_at desc);

comment on table public.ctx0_schema_attempts is
  'ctx0: every decided request to change the schema, with the answer that it got';
comment on column public.ctx0_schema_attempts.outcome is
  'applied, already_applied, conflict or failed';
comment on column public.ctx0_schema_attempts.down_sql is
  'The text that takes the version back, as it was known when the version was applied';

alter table public.ctx0_schema_attempts enable row level security;

revoke all on table public.ctx0_schema_attempts from public, anon, authenticated, service_role;
grant select on table public.ctx0_schema_attempts to service_role;
