-- The schema for everything that no client calls. PostgREST does not expose it, and
-- only its owner has privileges on it.
create schema if not exists ctx0_private;

comment on schema ctx0_private is
  'ctx0: what the functions of ctx0 in schema public need; not for direct use';
