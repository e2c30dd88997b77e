-- The version that is running outside a transaction: one row, committed before its statement is sent,
-- and deleted in the transaction that records the outcome. While it is here, no other change begins.
create table if not exists ctx0_private.ctx0_schema_outside (
  only_row    boolean primary key default true check (only_row),
  attempt     uuid not null,
  action      text not null,
  version     integer not null,
  checksum    text,
  statement   jsonb not null,
  applied_by  text,
  runs        integer not null default 0,
  run_at      timestamptz not null default clock_timestamp(),
  started_at  timestamptz not null default clock_timestamp(),
  failure     jsonb,
  job         bigint,
  job_due     timestamptz,
  no_job      text
);

comment on table ctx0_private.ctx0_schema_outside is
  'ctx0: the version that is running outside a transaction';
comment on column ctx0_private.ctx0_schema_outside.statement is
  'What it does: kind, schema, table and index, as begin_outside() has found them, and what the client sent';
comment on column ctx0_private.ctx0_schema_outside.runs is
  'How often a client was asked to run a statement';
comment on column ctx0_private.ctx0_schema_outside.run_at is
  'When a client, or pg_cron, was last asked to';
comment on column ctx0_private.ctx0_schema_outside.failure is
  'Why it fails, {sqlstate, message}; null while that is not known. What is left of it is removed first';
comment on column ctx0_private.ctx0_schema_outside.job is
  'The job of pg_cron that runs a statement; null where there is none';
comment on column ctx0_private.ctx0_schema_outside.job_due is
  'When that job begins';
comment on column ctx0_private.ctx0_schema_outside.no_job is
  'Why pg_cron could not run a statement; null where that was not tried';

alter table ctx0_private.ctx0_schema_outside enable row level security;
