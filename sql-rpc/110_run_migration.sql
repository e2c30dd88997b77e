-- run_migration(...): runs the statements of one version and keeps the ledger in step,
-- in a block of its own: a failure rolls the block back and is returned as data.
--
-- Arguments
--   p_action   apply or rollback
--   p_sql      the statements in order; joined they are the text
--   the others go to the row of the ledger
--
-- Result: jsonb with "outcome", and
--   applied, rolled_back  + execution_ms, statements
--   failed                + statement (from 1; 0: none of them, such as a deferred constraint), sqlstate,
--                         message, detail, hint, context, schema_name, table_name, column_name,
--                         constraint_name, retryable, holders, checksum (of p_sql); nothing of the version is left
--
-- What the statements leave on the connection is for the caller to clean.
create function ctx0_private.run_migration(
  p_action      text,
  p_version     integer,
  p_name        text,
  p_description text,
  p_sql         text[],
  p_checksum    text,
  p_applied_by  text,
  p_attempt     uuid
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started    constant timestamptz := clock_timestamp();
  v_statement_sql text;
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
begin
  begin
    if p_action = 'apply' then
      insert into public.ctx0_schema_versions
             (version, migration_name, description, applied_by, checksum, attempt)
      values (p_version, p_name, p_description, coalesce(p_applied_by, 'bot0-daemon'), p_checksum, p_attempt);
    end if;
    perform set_config('search_path', 'public, extensions', true);
    -- Supabase's `safeupdate` refuses an update without `where`, which a migration may mean.
    perform pg_catalog.set_config('safeupdate.enabled', '0', true);

    foreach v_statement_sql in array p_sql loop
      -- By its schema, because the migration may have set the search_path.
      v_statement := v_statement operator(pg_catalog.+) 1;
      execute v_statement_sql;
    end loop;

    -- What was deferred must fail here, where it is still caught, and not at commit.
    v_statement := 0;
    v_statement_sql := '';
    set constraints all immediate;
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    v_ms := ceil(extract(epoch from clock_timestamp() - v_started) * 1000);
    if p_action = 'apply' then
      update public.ctx0_schema_versions
         set execution_ms = v_ms
       where version = p_version and attempt is not distinct from p_attempt;
      if not found then
        raise object_not_in_prerequisite_state using
          message = 'the migration removed its own row from ctx0_schema_versions';
      end if;
    else
      -- A down text that can also be run by hand has deleted the row already.
      delete from public.ctx0_schema_versions where version = p_version;
      if ctx0_private.current_version() <> p_version - 1 then
        raise object_not_in_prerequisite_state using
          message = format('the down text of version %s removed other rows from ctx0_schema_versions', p_version);
      end if;
    end if;
    return jsonb_strip_nulls(jsonb_build_object(
      'outcome', case p_action when 'apply' then 'applied' else 'rolled_back' end,
      'execution_ms', v_ms, 'statements', cardinality(p_sql)));
  -- `others` leaves out these two: a timeout or an assertion is an answer as well.
  exception when query_canceled or assert_failure or others then
    get stacked diagnostics
      v_state = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail,
      v_hint = pg_exception_hint, v_context = pg_exception_context, v_schema = schema_name,
      v_table = table_name, v_column = column_name, v_constraint = constraint_name;
    return jsonb_strip_nulls(jsonb_build_object(
      'outcome', 'failed', 'statement', v_statement, 'sqlstate', v_state, 'message', v_message,
      'detail', nullif(v_detail, ''), 'hint', nullif(v_hint, ''), 'context', nullif(left(v_context, 2000), ''),
      'schema_name', nullif(v_schema, ''), 'table_name', nullif(v_table, ''),
      'column_name', nullif(v_column, ''), 'constraint_name', nullif(v_constraint, ''),
      'checksum', ctx0_private.checksum(p_sql => p_sql),
      'retryable', v_state in ('55P03', '40001', '40P01'),
      'holders', case when v_state = '55P03' then ctx0_private.lock_holders(p_statement => v_statement_sql) end));
  end;
end
$$;

comment on function ctx0_private.run_migration(text, integer, text, text, text[], text, text, uuid) is
  'ctx0: runs the statements of one schema version and keeps the ledger in step';
