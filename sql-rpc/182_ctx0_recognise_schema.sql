-- ctx0_recognise_schema(...): compares the objects of ctx0 with what each version makes, for a schema
-- that was made by hand and is in no ledger. Nothing is changed, and no live table is locked (see
-- make_from_nothing).
--
-- Arguments
--   p_steps      the versions from 1, a list of {version, name, description, sql: [statements], checksum}
--   p_show       the version to show the differences from; null: the closest one, of several the lowest
--   p_budget_ms  no statement is begun later than this, at most 20,000
--
-- Result: jsonb with "outcome", "rpc_version", and
--   compared  + current_version: of the ledger
--             + objects: the names of the objects that are there, each with its kind
--             + fingerprint: of their definitions, for ctx0_repair_ledger
--             + versions: one for each version that was begun: {version, differences: how many objects differ
--               or cannot be compared}; the last may be {version, message} with why it could not be made
--             + shown: {version, objects: [{name, before: as the version makes it, after: as it is}],
--               unknown: [{name, reason}]}, or null
--   locked    + held_by: change | rehearsal
--   conflict  + reason: damaged, + message
-- Errors: 42501 for anyone but the service role and the owner, 22023 for a wrong argument.
-- Who may call it: service_role.
create function public.ctx0_recognise_schema(
  p_steps     jsonb,
  p_show      integer default null,
  p_budget_ms integer default 20000
)
returns ctx0_private.answer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set statement_timeout = '25s'
set default_transaction_isolation = 'read committed'
as $$
begin
  perform ctx0_private.check_caller();
  return ctx0_private.answer(p_fields => ctx0_private.recognise(
    p_steps => p_steps, p_show => p_show, p_budget => least(p_budget_ms, 20000) * interval '1 ms'));
end
$$;

comment on function public.ctx0_recognise_schema(jsonb, integer, integer) is
  'ctx0: compares the schema that is there with what each version makes';
