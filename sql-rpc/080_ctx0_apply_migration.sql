-- ctx0_apply_migration(...): applies one version, completely or not at all.
--
-- Arguments
--   p_version           the version, one more than the ledger's highest
--   p_name              its name, such as "003_tags"
--   p_description       what it does, in a sentence
--   p_sql               its text, cut after each statement; the pieces in order are the whole text
--   p_checksum          SHA-256 (hex) of the whole text in UTF-8
--   p_down_sql          the text that takes it back, or null
--   p_applied_by        who asks
--   p_expected_version  the ledger's highest version as the caller knows it; null: do not compare
--   p_attempt           names this request: every copy of it gets the answer of the first
--
-- Result: jsonb with "outcome", "version", "attempt", "current_version" and "rpc_version", and
--   applied          + execution_ms, statements
--   already_applied  the ledger has this version from this very text
--   locked           another migration is running; nothing was done or recorded
--   conflict         + reason: damaged | attempt_reused | different_migration | unexpected_version | gap
--                    + message; nothing was done
--   failed           + statement (from 1; 0: none of them, such as a deferred constraint), sqlstate,
--                    message, detail, hint, context, schema_name, table_name, column_name,
--                    constraint_name, retryable, holders; nothing of the migration is left
--   An answer given for the second time carries "replayed": true.
-- Errors: 42501 for anyone but the service role and the owner, 22023 for a missing argument.
-- Who may call it: service_role.
--
-- Failures are data, not errors: the row in ctx0_schema_attempts must survive them, and PostgREST
-- repeats a request that ends in 40001 or 40P01 by itself, without end.
--
-- lock_timeout: while a statement waits for a table, every later query on that table queues behind
-- it, so it waits briefly. statement_timeout counts where the caller's role or PostgREST (12 or
-- newer, which reads it from here) sets it before the call. default_transaction_isolation is read
-- by PostgREST too: the look into the ledger must see what was committed before the lock was got.
create function public.ctx0_apply_migration(
  p_version          integer,
  p_name             text,
  p_description      text,
  p_sql              text[],
  p_checksum         text,
  p_down_sql         text default null,
  p_applied_by       text default 'bot0-daemon',
  p_expected_version integer default null,
  p_attempt          uuid default gen_random_uuid()
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
set statement_timeout = '15min'
set default_transaction_isolation = 'read committed'
as $$
declare
  v_started    constant timestamptz := clock_timestamp();
  v_current    integer;
  v_ledger     public.ctx0_schema_versions;
  v_earlier    public.ctx0_schema_attempts;
  v_piece      text;
  v_statement  integer := 0;
  v_ms         bigint;
  v_state      text;
  v_message    text;
  v_detail     text;
  v_hint       text;
  v_context    text;
  v_schema     text;
  v_table      text;
  v_column     text;
  v_constraint text;
  v_answer     jsonb;
begin
  perform public.ctx0_check_caller();

  if p_version is null or p_version < 1 or coalesce(p_name, '') = ''
     or p_checksum is null or p_attempt is null
     or coalesce(cardinality(p_sql), 0) = 0 or array_position(p_sql, null) is not null then
    raise invalid_parameter_value using
      message = 'ctx0_apply_migration needs p_version (from 1), p_name, p_sql, p_checksum and p_attempt';
  end if;
  if current_setting('transaction_isolation') <> 'read committed' then
    raise invalid_transaction_state using
      message = 'ctx0_apply_migration must run in a transaction that is read committed',
      hint = 'Remove default_transaction_isolation from the role that PostgREST connects as.';
  end if;

  -- A body that was damaged on the way is not an answer to this attempt: it is
  -- told so and not recorded, so that the true one can still come.
  if encode(sha256(convert_to(array_to_string(p_sql, ''), 'UTF8')), 'hex') <> lower(p_checksum) then
    return jsonb_build_object(
      'outcome', 'conflict', 'reason', 'damaged', 'version', p_version, 'attempt', p_attempt,
      'rpc_version', 1, 'message', 'the SQL that arrived is not the SQL of its checksum');
  end if;

  if not pg_try_advisory_xact_lock(1668577328, 1) then
    return jsonb_build_object(
      'outcome', 'locked', 'version', p_version, 'attempt', p_attempt, 'rpc_version', 1);
  end if;

  select * into v_earlier from public.ctx0_schema_attempts where attempt = p_attempt;
  if found then
    if v_earlier.action = 'apply' and v_earlier.version = p_version
       and v_earlier.checksum = lower(p_checksum) then
      return v_earlier.result || jsonb_build_object('replayed', true);
    end if;
    return jsonb_build_object(
      'outcome', 'conflict', 'reason', 'attempt_reused', 'version', p_version, 'attempt', p_attempt,
      'rpc_version', 1, 'message', 'this attempt was used for something else before');
  end if;

  select coalesce(max(version), 0) into v_current from public.ctx0_schema_versions;
  select * into v_ledger from public.ctx0_schema_versions where version = p_version;

  if found and v_ledger.migration_name = p_name
     and coalesce(v_ledger.checksum, lower(p_checksum)) = lower(p_checksum) then
    v_answer := jsonb_build_object('outcome', 'already_applied');
  elsif found then
    v_answer := jsonb_build_object(
      'outcome', 'conflict', 'reason', 'different_migration',
      'message', format('version %s is in the ledger as %s, from another text', p_version, v_ledger.migration_name));
  elsif v_current <> p_expected_version then
    v_answer := jsonb_build_object(
      'outcome', 'conflict', 'reason', 'unexpected_version',
      'message', format('the database has version %s, the caller expected %s', v_current, p_expected_version));
  elsif p_version <> v_current + 1 then
    v_answer := jsonb_build_object(
      'outcome', 'conflict', 'reason', 'gap',
      'message', format('the database has version %s, so version %s cannot be next', v_current, p_version));
  else
    begin
      perform set_config('search_path', 'public, extensions', true);
      -- Supabase's `safeupdate` refuses an update without `where`, which a migration may mean.
      perform set_config('safeupdate.enabled', '0', true);
      insert into public.ctx0_schema_versions
             (version, migration_name, description, applied_by, checksum, attempt)
      values (p_version, p_name, p_description, coalesce(p_applied_by, 'bot0-daemon'), lower(p_checksum), p_attempt);

      foreach v_piece in array p_sql loop
        -- By its schema, because the migration may have set the search_path.
        v_statement := v_statement operator(pg_catalog.+) 1;
        execute v_piece;
      end loop;

      -- What was deferred must fail here, where it is still caught, and not at commit.
      v_statement := 0;
      v_piece := '';
      set constraints all immediate;
      perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

      v_ms := ceil(extract(epoch from clock_timestamp() - v_started) * 1000);
      update public.ctx0_schema_versions
         set execution_ms = v_ms
       where version = p_version and attempt = p_attempt;
      if not found then
        raise object_not_in_prerequisite_state using
          message = 'the migration removed its own row from ctx0_schema_versions';
      end if;
      v_answer := jsonb_build_object(
        'outcome', 'applied', 'execution_ms', v_ms, 'statements', cardinality(p_sql));
      -- PostgREST learns of new tables and columns by this, where no event trigger tells it.
      perform pg_notify('pgrst', 'reload schema');
    -- `others` leaves out these two: a timeout or an assertion is an answer as well.
    exception when query_canceled or assert_failure or others then
      get stacked diagnostics
        v_state = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail,
        v_hint = pg_exception_hint, v_context = pg_exception_context, v_schema = schema_name,
        v_table = table_name, v_column = column_name, v_constraint = constraint_name;
      v_answer := jsonb_strip_nulls(jsonb_build_object(
        'outcome', 'failed', 'statement', v_statement, 'sqlstate', v_state, 'message', v_message,
        'detail', nullif(v_detail, ''), 'hint', nullif(v_hint, ''), 'context', nullif(left(v_context, 2000), ''),
        'schema_name', nullif(v_schema, ''), 'table_name', nullif(v_table, ''),
        'column_name', nullif(v_column, ''), 'constraint_name', nullif(v_constraint, ''),
        'retryable', v_state in ('55P03', '40001', '40P01'),
        'holders', case when v_state = '55P03' then public.ctx0_lock_holders(v_piece) end));
    end;
    perform public.ctx0_clean_session();
    perform set_config('search_path', 'pg_catalog, pg_temp', true);
  end if;

  v_answer := v_answer || jsonb_build_object(
    'version', p_version,
    'attempt', p_attempt,
    'current_version', (select coalesce(max(version), 0) from public.ctx0_schema_versions),
    'rpc_version', 1);
  insert into public.ctx0_schema_attempts
         (attempt, action, version, outcome, checksum, down_sql, sqlstate, message, applied_by, started_at, finished_at, result)
  values (p_attempt, 'apply', p_version, v_answer ->> 'outcome', lower(p_checksum), p_down_sql,
          v_answer ->> 'sqlstate', v_answer ->> 'message', p_applied_by, v_started, clock_timestamp(), v_answer);
  return v_answer;
end
$$;

comment on function public.ctx0_apply_migration(integer, text, text, text[], text, text, text, integer, uuid) is
  'ctx0: applies one schema version in one transaction, exactly once for each attempt';
revoke all on function public.ctx0_apply_migration(integer, text, text, text[], text, text, text, integer, uuid)
  from public, anon, authenticated;
grant execute on function public.ctx0_apply_migration(integer, text, text, text[], text, text, text, integer, uuid)
  to service_role;
