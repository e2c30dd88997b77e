-- ctx0_run_migration(...): runs the statements of one version and keeps the ledger in step,
-- in a block of its own: a failure takes back the block and is returned as data.
--
-- Arguments
--   p_action   apply or rollback
--   p_sql      the statements in order, each a piece of the text
--   p_hearing  in a rehearsal: {number of a statement: {"noting": text} or {"strict": text}}
--                noting  runs in place of the statement. It does the same, and leaves what it says in
--                        the setting ctx0.notices. To fail it raises CTX01 with that as the message,
--                        and with the error's message and SQLSTATE as detail and hint
--                strict  is the statement made to fail where it would only say that there is nothing
--                        to do. It runs where the statement has changed no definition, to hear why
--   the others go to the row of the ledger
--
-- Result: jsonb with "outcome", in a rehearsal "notices", for each statement that was begun what it
-- said (lines, each a JSON array: level, format, arguments, options), and
--   applied, rolled_back  + execution_ms, statements
--   failed                + statement (from 1; 0: none of them, such as a deferred constraint), sqlstate,
--                         message, detail, hint, context, schema_name, table_name, column_name,
--                         constraint_name, retryable, holders, checksum (of p_sql); nothing of the version is left
--
-- What the statements leave on the connection is for the caller to clean.
-- Who may call it: only the functions of this folder.
create function public.ctx0_run_migration(
  p_action      text,
  p_version     integer,
  p_name        text,
  p_description text,
  p_sql         text[],
  p_checksum    text,
  p_applied_by  text,
  p_attempt     uuid,
  p_hearing     jsonb default null
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started    constant timestamptz := clock_timestamp();
  v_piece      text;
  v_statement  integer := 0;
  v_noting     text;
  v_why        text;
  v_why_state  text;
  v_strict     text;
  v_writes     bigint;
  v_notices    text[] := '{}';
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
  perform public.ctx0_check_caller();
  begin
    if p_action = 'apply' then
      insert into public.ctx0_schema_versions
             (version, migration_name, description, applied_by, checksum, attempt)
      values (p_version, p_name, p_description, coalesce(p_applied_by, 'bot0-daemon'), p_checksum, p_attempt);
    end if;
    perform set_config('search_path', 'public, extensions', true);
    -- Supabase's `safeupdate` refuses an update without `where`, which a migration may mean.
    perform pg_catalog.set_config('safeupdate.enabled', '0', true);

    foreach v_piece in array p_sql loop
      -- By its schema, because the migration may have set the search_path.
      v_statement := v_statement operator(pg_catalog.+) 1;
      v_notices[v_statement] := '';
      v_why_state := null;
      v_noting := pg_catalog.jsonb_extract_path_text(p_hearing, v_statement::pg_catalog.text, 'noting');
      if v_noting is not null then
        begin
          perform pg_catalog.set_config('ctx0.notices', '', true);
          execute v_noting;
          v_notices[v_statement] := pg_catalog.concat(pg_catalog.current_setting('ctx0.notices', true));
          continue;
        exception
          when sqlstate 'CTX01' then
            v_notices[v_statement] := sqlerrm;
            get stacked diagnostics v_why = pg_exception_detail, v_why_state = pg_exception_hint;
          -- Nobody waits for a table twice.
          when lock_not_available then
            raise;
          -- Why is told by the statement itself.
          when assert_failure or others then
            null;
        end;
      end if;

      v_strict := pg_catalog.jsonb_extract_path_text(p_hearing, v_statement::pg_catalog.text, 'strict');
      v_writes := case when v_strict is not null then public.ctx0_catalog_writes() end;
      execute v_piece;
      if v_writes operator(pg_catalog.=) public.ctx0_catalog_writes() then
        begin
          execute v_strict;
          raise sqlstate 'CTX00';
        exception
          when duplicate_table or duplicate_column or duplicate_object or duplicate_schema or duplicate_function
            or undefined_table or undefined_column or undefined_object or undefined_function or invalid_schema_name then
            v_notices[v_statement] := pg_catalog.jsonb_build_array('notice', '%, skipping',
              pg_catalog.jsonb_build_array(pg_catalog.quote_literal(sqlerrm)),
              pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(sqlstate, 'skipped')));
          when assert_failure or others then
            null;
        end;
      end if;
    end loop;

    -- What was deferred must fail here, where it is still caught, and not at commit.
    v_statement := 0;
    v_piece := '';
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
      -- A way back that can be run by hand has deleted the row by itself.
      delete from public.ctx0_schema_versions where version = p_version;
      if (select coalesce(max(version), 0) from public.ctx0_schema_versions) <> p_version - 1 then
        raise object_not_in_prerequisite_state using
          message = format('the way back of version %s removed other rows from ctx0_schema_versions', p_version);
      end if;
    end if;
    return jsonb_strip_nulls(jsonb_build_object(
      'outcome', case p_action when 'apply' then 'applied' else 'rolled_back' end,
      'execution_ms', v_ms, 'statements', cardinality(p_sql),
      'notices', case when p_hearing is not null then v_notices end));
  -- `others` leaves out these two: a timeout or an assertion is an answer as well.
  exception when query_canceled or assert_failure or others then
    get stacked diagnostics
      v_state = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail,
      v_hint = pg_exception_hint, v_context = pg_exception_context, v_schema = schema_name,
      v_table = table_name, v_column = column_name, v_constraint = constraint_name;
    -- It failed once, and there was no time left to see how.
    if v_state = '57014' and v_why_state is not null then
      v_state := v_why_state;
      v_message := v_why;
    end if;
    return jsonb_strip_nulls(jsonb_build_object(
      'outcome', 'failed', 'statement', v_statement, 'sqlstate', v_state, 'message', v_message,
      'detail', nullif(v_detail, ''), 'hint', nullif(v_hint, ''), 'context', nullif(left(v_context, 2000), ''),
      'schema_name', nullif(v_schema, ''), 'table_name', nullif(v_table, ''),
      'column_name', nullif(v_column, ''), 'constraint_name', nullif(v_constraint, ''),
      'checksum', encode(sha256(convert_to(array_to_string(p_sql, ''), 'UTF8')), 'hex'),
      'notices', case when p_hearing is not null then v_notices end,
      'retryable', v_state in ('55P03', '40001', '40P01'),
      'holders', case when v_state = '55P03' then public.ctx0_lock_holders(v_piece) end));
  end;
end
$$;

comment on function public.ctx0_run_migration(text, integer, text, text, text[], text, text, uuid, jsonb) is
  'ctx0: runs the statements of one schema version and keeps the ledger in step';
revoke all on function public.ctx0_run_migration(text, integer, text, text, text[], text, text, uuid, jsonb)
  from public, anon, authenticated, service_role;
