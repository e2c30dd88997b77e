-- run_migration(...): runs the statements of one version and updates the ledger, in a
-- subtransaction: a failure rolls it back and is returned as data.
--
-- Arguments
--   p_action        apply or rollback
--   p_sql           the statements in order; joined they are the text
--   p_lock_timeout  how long a statement may wait for a lock
--   p_request       the first attempt of the request, under which it can be cancelled; null in a rehearsal
--   p_preview       in a rehearsal its id: it can be cancelled between statements
--   p_stop_at       in a rehearsal the time at which no further statement is begun
--   p_installation  installation(), which the statements must leave as it is, where the caller knows it
--   p_others        other_versions(), which they must leave as they are, where the caller knows them
--   the others go to the row of the ledger
--
-- Result: jsonb with "outcome", and
--   applied, rolled_back  + execution_ms, statements
--   stopped               no statement was begun after p_stop_at or a request to cancel the preview; nothing
--                         of the version is left
--   cancelled             + cancelled_by, and statement, the last one that was begun; nothing of the version
--                         is left
--   failed                + statement (from 1; 0: none of them, such as a deferred constraint), sqlstate,
--                         message, detail, hint, context, schema_name, table_name, column_name,
--                         constraint_name, retryable, holders, checksum (of p_sql); nothing of the version is left
--
-- The caller cleans up what the statements leave on the connection.
create function ctx0_private.run_migration(
  p_action       text,
  p_version      integer,
  p_name         text,
  p_description  text,
  p_sql          text[],
  p_checksum     text,
  p_applied_by   text,
  p_attempt      uuid,
  p_lock_timeout interval,
  p_request      uuid default null,
  p_preview      uuid default null,
  p_stop_at      timestamptz default null,
  p_breaking     boolean default null,
  p_min_app_version text default null,
  p_installation text default null,
  p_others       bigint[] default null
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_started       constant timestamptz := clock_timestamp();
  v_installation  constant text := coalesce(p_installation, ctx0_private.installation());
  v_others        constant bigint[] := coalesce(p_others, ctx0_private.other_versions(p_version => p_version));
  v_writes        text;
  v_record        text;
  v_is_clean      boolean;
  v_problem       text;
  v_named         constant text := current_setting('application_name');
  v_position      text := current_setting('application_name');
  v_statement_sql text;
  v_statement     integer := 0;
  v_path          text;
  v_ms            bigint;
  v_state         text;
  v_message       text;
  v_detail        text;
  v_hint          text;
  v_context       text;
  v_schema        text;
  v_table         text;
  v_column        text;
  v_constraint    text;
  v_cancelled_by  text;
  v_stopped       boolean := false;
begin
  begin
    if p_action = 'apply' then
      insert into public.ctx0_schema_versions
             (version, migration_name, description, applied_at, applied_by, checksum, attempt, breaking, min_app_version)
      values (p_version, p_name, p_description, v_started, coalesce(p_applied_by, 'bot0-daemon'), p_checksum, p_attempt,
              p_breaking, p_min_app_version);
    end if;
    v_writes := ctx0_private.own_writes();
    v_record := ctx0_private.record_writes();
    perform set_config('search_path', 'public, extensions', true);
    -- Supabase's `safeupdate` refuses an update without `where`, which a migration may mean.
    perform pg_catalog.set_config('safeupdate.enabled', '0', true);

    -- Every name is qualified, because the migration may have set the search_path.
    foreach v_statement_sql in array p_sql loop
      v_stopped := p_stop_at is not null and ctx0_private.must_stop(p_preview => p_preview, p_stop_at => p_stop_at)
                   or p_request is not null and ctx0_private.cancelled_by(p_attempt => p_request) is not null;
      if v_stopped then
        raise sqlstate 'CTX02';
      end if;
      v_statement := v_statement operator(pg_catalog.+) 1;
      perform ctx0_private.impose_limits(p_lock_timeout => p_lock_timeout);
      v_position := ctx0_private.show_position(
        p_names => array[v_named, v_position], p_action => p_action, p_version => p_version, p_statement => v_statement,
        p_statements => pg_catalog.cardinality(p_sql), p_started => v_started);
      v_path := pg_catalog.current_setting('search_path');
      execute v_statement_sql;
    end loop;

    -- Deferred constraints must fail here, where the error is caught, and not at commit.
    v_statement := 0;
    v_statement_sql := '';
    perform ctx0_private.impose_limits(p_lock_timeout => p_lock_timeout);
    perform ctx0_private.show_position(
      p_names => array[v_named, v_position], p_action => p_action, p_version => p_version, p_statement => 0,
      p_statements => pg_catalog.cardinality(p_sql), p_started => v_started);
    set constraints all immediate;
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    v_is_clean := coalesce(ctx0_private.own_writes() = v_writes, false);
    if not v_is_clean and ctx0_private.installation() is distinct from v_installation then
      raise object_not_in_prerequisite_state using
        message = 'the migration changes what install_sql() has installed',
        hint = 'Leave the schema ctx0_private and the functions that return ctx0_private.answer alone.';
    end if;
    if ctx0_private.record_writes() is distinct from v_record then
      raise object_not_in_prerequisite_state using
        message = 'the migration writes to the tables in ctx0_private',
        hint = 'They have the record of all changes and what rolls them back. No migration needs to write to them.';
    end if;
    v_problem := ctx0_private.table_problem(p_owner => current_user);
    if v_problem is not null then
      raise object_not_in_prerequisite_state using
        message = format('after version %s, no later change could be made: %s', p_version, v_problem),
        hint = 'No migration needs to change the tables of ctx0.';
    end if;
    v_ms := ceil(extract(epoch from clock_timestamp() - v_started) * 1000);
    if p_action = 'apply' then
      if not ctx0_private.record_duration(
               p_version => p_version, p_name => p_name, p_checksum => p_checksum, p_attempt => p_attempt, p_ms => v_ms) then
        raise object_not_in_prerequisite_state using
          message = 'the migration removed or changed its own row in ctx0_schema_versions',
          hint = 'The row of a version is written for it; no migration needs to write to the ledger.';
      end if;
    else
      -- A down text that can also be run by hand has deleted the row already.
      delete from public.ctx0_schema_versions where version = p_version;
    end if;
    if not v_is_clean and ctx0_private.other_versions(p_version => p_version) <> v_others then
      raise object_not_in_prerequisite_state using
        message = format('the SQL of version %s adds, removes or changes other rows of ctx0_schema_versions', p_version),
        hint = 'The row of a version is written for it; no migration needs to write to the ledger.';
    end if;
    v_stopped := ctx0_private.cancelled_by(p_attempt => p_request) is not null;
    if v_stopped then
      raise sqlstate 'CTX02';
    end if;
    return jsonb_build_object(
      'outcome', case p_action when 'apply' then 'applied' else 'rolled_back' end,
      'execution_ms', v_ms, 'statements', cardinality(p_sql));
  exception
    -- `others` does not include the first two, and a timeout or an assertion is an outcome as well.
    when query_canceled or assert_failure or others then
      get stacked diagnostics
        v_state = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail,
        v_hint = pg_exception_hint, v_context = pg_exception_context, v_schema = schema_name,
        v_table = table_name, v_column = column_name, v_constraint = constraint_name;
      if v_state = '42P01' and v_hint = '' then
        v_hint := ctx0_private.elsewhere(p_name => quote_ident(substring(v_message from '"([^"]+)"')), p_path => v_path);
      end if;
      if p_request is not null then
        perform ctx0_private.show_undone();
      end if;
      v_cancelled_by := ctx0_private.cancelled_by(p_attempt => p_request);
      if v_stopped and v_cancelled_by is null then
        return jsonb_build_object('outcome', 'stopped');
      elsif v_cancelled_by is not null then
        return jsonb_build_object('outcome', 'cancelled', 'cancelled_by', v_cancelled_by, 'statement', v_statement);
      end if;
      return jsonb_strip_nulls(jsonb_build_object(
        'outcome', 'failed', 'statement', v_statement, 'sqlstate', v_state, 'message', v_message,
        'detail', nullif(v_detail, ''), 'hint', nullif(v_hint, ''), 'context', nullif(left(v_context, 2000), ''),
        'schema_name', nullif(v_schema, ''), 'table_name', nullif(v_table, ''),
        'column_name', nullif(v_column, ''), 'constraint_name', nullif(v_constraint, ''),
        'checksum', ctx0_private.checksum(p_sql => p_sql),
        'retryable', v_state in ('55P03', '40001', '40P01'),
        'holders', case when v_state = '55P03' then ctx0_private.lock_holders(p_statement => v_statement_sql, p_path => v_path) end));
  end;
end
$$;

comment on function ctx0_private.run_migration(text, integer, text, text, text[], text, text, uuid, interval, uuid, uuid, timestamptz, boolean, text, text, bigint[]) is
  'ctx0: runs the statements of one schema version and updates the ledger';

-- record_duration(...): writes how long a version took to its row of the ledger, and tells whether that is still there.
create function ctx0_private.record_duration(p_version integer, p_name text, p_checksum text, p_attempt uuid, p_ms bigint)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
-- See current_version().
set enable_seqscan = off
as $$
begin
  update public.ctx0_schema_versions
     set execution_ms = p_ms
   where version = p_version and attempt is not distinct from p_attempt 
     and migration_name is not distinct from p_name and checksum is not distinct from p_checksum;
  return found;
end
$$;

comment on function ctx0_private.record_duration(integer, text, text, uuid, bigint) is
  'ctx0: writes how long a version took to the ledger';
