-- The attempts: one row for each request to change the schema, whatever its outcome.
-- They are the audit log, and they make a repeated request harmless: `result` is the
-- response, and every later copy of the same request gets it again.

-- Release 2 had them in public, and uninstalling leaves them there.
do $$
begin
  if pg_catalog.to_regclass('ctx0_private.ctx0_schema_attempts') is null
     and pg_catalog.to_regclass('public.ctx0_schema_attempts') is not null then
    alter table public.ctx0_schema_attempts set schema ctx0_private;
  end if;
end
$$;

create table if not exists ctx0_private.ctx0_schema_attempts (
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

alter table ctx0_private.ctx0_schema_attempts
  add column if not exists backup_by      text,
  add column if not exists down_outside   jsonb,
  add column if not exists reason         text,
  add column if not exists request        uuid,
  add column if not exists cancelled_by   text,
  add column if not exists fingerprint    text,
  add column if not exists objects        jsonb,
  add column if not exists server_version integer;

-- In release 1 it was one text.
do $$
begin
  if exists (select from pg_catalog.pg_attribute
              where attrelid = 'ctx0_private.ctx0_schema_attempts'::pg_catalog.regclass and attname = 'down_sql'
                and atttypid = 'text'::pg_catalog.regtype) then
    alter table ctx0_private.ctx0_schema_attempts
      alter column down_sql type text[] using case when down_sql is not null then array[down_sql] end;
  end if;
end
$$;

create index if not exists ctx0_schema_attempts_version_idx
  on ctx0_private.ctx0_schema_attempts (version, finished_at desc);

comment on table ctx0_private.ctx0_schema_attempts is
  'ctx0: every request to change the schema, with its response';
comment on column ctx0_private.ctx0_schema_attempts.outcome is
  'applied, already_applied, rolled_back, already_rolled_back, recorded, already_recorded, conflict, failed or cancelled';
comment on column ctx0_private.ctx0_schema_attempts.action is
  'apply, rollback, baseline, mark_applied, mark_not_applied or accept_checksum';
comment on column ctx0_private.ctx0_schema_attempts.reason is
  'Why the ledger was repaired; null for an apply and a rollback';
comment on column ctx0_private.ctx0_schema_attempts.down_sql is
  'The statements that roll the version back, as they were known when the version was applied';
comment on column ctx0_private.ctx0_schema_attempts.down_outside is
  'Of down_sql, if it is one statement that runs outside a transaction: what it does';
comment on column ctx0_private.ctx0_schema_attempts.backup_by is
  'Who said that there is a backup; null where nobody was asked';
comment on column ctx0_private.ctx0_schema_attempts.request is
  'The first attempt of the request, which can have several';
comment on column ctx0_private.ctx0_schema_attempts.cancelled_by is
  'Who asked to end it; null unless the outcome is cancelled';
comment on column ctx0_private.ctx0_schema_attempts.objects is
  'The objects of ctx0 with their definitions, as the change left them';
comment on column ctx0_private.ctx0_schema_attempts.fingerprint is
  'SHA-256 (hex) of objects';
comment on column ctx0_private.ctx0_schema_attempts.server_version is
  'PostgreSQL''s version (server_version_num): another major version may print definitions otherwise';

-- No policy: whatever is granted, nobody but the owner sees a row. That matters
-- while the table is in public.
alter table ctx0_private.ctx0_schema_attempts enable row level security;
