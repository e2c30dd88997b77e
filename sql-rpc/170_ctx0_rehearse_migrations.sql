-- ctx0_rehearse_migrations(...): runs versions for real, looks at what changed, and rolls everything
-- back. ctx0_rehearse_migrations_long(...) does the same and may take longer.
--
-- Arguments
--   p_steps             a list of objects, in the order in which they would run:
--                         {"action": "apply", version, name, description, sql: [statements], checksum}
--                         {"action": "rollback", version, sql: [statements] or null, checksum or null}
--   p_expected_version  the ledger's highest version as the caller knows it; null: do not compare
--   p_preview           identifies this rehearsal for ctx0_cancel_preview
--   p_budget_ms         how long it may take in all: no statement is begun later. At most 5,000,
--                       in ctx0_rehearse_migrations_long 25,000
--
-- Result: jsonb with "outcome", "current_version" and "rpc_version", and
--   rehearsed  + versions: one a step that was begun, each as run_migration with action, version and name.
--                  The last one may have failed, or be
--                    stopped         the budget is used, or it was cancelled
--                    after_previous  it uses an enum value that a version before it adds, which PostgreSQL
--                                    allows only once that is committed
--                  outside_table: of a version that runs outside a transaction, as outside_table()
--                  The others have
--                    objects: [{before: object or null, after: object or null}], those that
--                             differ, with object = {id, kind, name, definition} as schema_objects
--                    locks:   [{id, relation, mode}]: tables and views that were there before, with
--                             the strongest lock, where no earlier step took as strong a one
--                    rewrites: [{id, relation, empty, count}]: tables whose file was replaced
--                    rows:    [{id, relation, existed, root, kept, inserted, updated, deleted}]; root of a
--                             partition; kept: the rows that were left as they are, where they were counted
--                    restarted: [{relation, from, to}]: sequences that may give numbers that are in use
--                    unseen:  what could not be seen, in words
--                    large_objects: how many were deleted
--                    slots:   names of replication slots that were made, and that no rollback removes
--              + tables: as table_facts
--              + sequences: [{relation, from, to}]: those that could not be set back
--              + unrecorded: whether there are objects of ctx0, although the ledger is empty
--              + drifted: the names of the objects that were changed since the last change left them
--              + cron: whether pg_cron can run a version outside a transaction
--              + cancelled: whether ctx0_cancel_preview stopped it
--   locked     + rehearsal: whether another rehearsal runs, and not a change of the schema
--   conflict   + reason: damaged | unsafe_table | unexpected_version | gap | not_reversible, and message
-- Errors: 42501 for anyone but the service role and the owner, 22023 for a wrong argument.
-- Who may call it: service_role.
--
-- A rollback does not undo everything. Settings and other state of the session are restored, advisory
-- locks released, sequences protected or set back. What stays is in the documentation of the client: dead rows and disk space until the next vacuum, the estimates that
-- `analyze` and `create index` write, and whatever the migration does outside of this database.
--
-- lock_timeout: no query queues behind a rehearsal for long. statement_timeout: while a rehearsal
-- holds a table, the app waits for it. PostgREST reads it here, before the call; there is one function
-- for each of the two because it cannot be changed while the function runs.
create function public.ctx0_rehearse_migrations(
  p_steps            jsonb,
  p_expected_version integer default null,
  p_preview          uuid default null,
  p_budget_ms        integer default 5000
)
returns ctx0_private.answer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set statement_timeout = '5s'
set default_transaction_isolation = 'read committed'
as $$
begin
  perform ctx0_private.check_caller();
  return ctx0_private.answer(p_fields => ctx0_private.rehearse(
    p_steps => p_steps, p_expected_version => p_expected_version, p_preview => p_preview,
    p_budget => least(p_budget_ms, 5000) * interval '1 ms'));
end
$$;

comment on function public.ctx0_rehearse_migrations(jsonb, integer, uuid, integer) is
  'ctx0: runs schema versions, reports what they would change, and rolls everything back';

create function public.ctx0_rehearse_migrations_long(
  p_steps            jsonb,
  p_expected_version integer default null,
  p_preview          uuid default null,
  p_budget_ms        integer default 25000
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
  return ctx0_private.answer(p_fields => ctx0_private.rehearse(
    p_steps => p_steps, p_expected_version => p_expected_version, p_preview => p_preview,
    p_budget => least(p_budget_ms, 25000) * interval '1 ms'));
end
$$;

comment on function public.ctx0_rehearse_migrations_long(jsonb, integer, uuid, integer) is
  'ctx0: as ctx0_rehearse_migrations, with a longer timeout';
