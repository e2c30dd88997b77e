-- The cancellations: one row for each attempt that somebody asked to end. An attempt with a row here
-- begins no statement, however late a copy of its request arrives.
create table if not exists ctx0_private.ctx0_schema_cancellations (
  attempt      uuid primary key,
  cancelled_by text not null,
  asked_at     timestamptz not null default clock_timestamp()
);

comment on table ctx0_private.ctx0_schema_cancellations is
  'ctx0: the attempts that somebody asked to end';
comment on column ctx0_private.ctx0_schema_cancellations.attempt is
  'The first attempt of the request';

alter table ctx0_private.ctx0_schema_cancellations enable row level security;
