-- What runs outside a transaction: `create index concurrently`, `drop index concurrently`, `reindex ... concurrently`,
-- `vacuum`, and `alter table ... detach partition ... concurrently`.
--
-- A client runs such a statement past PostgREST, and its response may be lost. So the outcome is read
-- from the catalog, and the statement can do no harm whenever a copy of it runs: while it runs, the index
-- has a name that belongs to the attempt, outside_name(). An index gets its own name in the
-- transaction that writes the ledger; one that is to be dropped loses it in the transaction that begins. The
-- others have that name in a comment. `vacuum` and `reindex` do no harm by being repeated. A partition keeps its name,
-- under which an app may use it, so a copy of the statement that arrives after the version was rolled back detaches it again.

-- outside_index(p_run): the index under the name that it has while a statement works on it, as (id, valid), or
-- no row.
create function ctx0_private.outside_index(p_run ctx0_private.ctx0_schema_outside)
returns table (id oid, valid boolean)
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select c.oid, i.indisvalid
    from pg_class c
    join pg_index i on i.indexrelid = c.oid
   where c.relnamespace = to_regnamespace(quote_ident(p_run.statement ->> 'schema'))
     and c.relname = ctx0_private.outside_name(p_kind => p_run.statement ->> 'kind', p_attempt => p_run.attempt);
$$;

comment on function ctx0_private.outside_index(ctx0_private.ctx0_schema_outside) is
  'ctx0: the index of a version that is running outside a transaction';

-- run_outside(p_sql): the response that asks a client to run this outside a transaction. no_cron: why pg_cron does not
-- run it if the client cannot; null where it does.
create function ctx0_private.run_outside(p_sql text)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update ctx0_private.ctx0_schema_outside set runs = runs + 1, run_at = clock_timestamp() where only_row;
  return jsonb_build_object(
    'outcome', 'outside', 'sql', p_sql,
    'no_cron', coalesce((select no_job from ctx0_private.outside_run()), ctx0_private.no_cron()));
end
$$;

comment on function ctx0_private.run_outside(text) is
  'ctx0: the response that asks a client to run a statement outside a transaction';

-- forget_outside(p_run): ends a version that was running outside a transaction.
create function ctx0_private.forget_outside(p_run ctx0_private.ctx0_schema_outside)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform ctx0_private.remove_job(p_run => p_run);
  delete from ctx0_private.ctx0_schema_outside where only_row;
end
$$;

comment on function ctx0_private.forget_outside(ctx0_private.ctx0_schema_outside) is
  'ctx0: ends a version that was running outside a transaction';

-- undo_outside(p_run): makes it as it was before the run, as far as that takes no time: an index that was to be
-- dropped gets its name back.
create function ctx0_private.undo_outside(p_run ctx0_private.ctx0_schema_outside)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_run.statement ->> 'kind' = 'drop_index' and exists (select from ctx0_private.outside_index(p_run => p_run)) then
    execute format('alter index %I.%I rename to %I', p_run.statement ->> 'schema',
                   ctx0_private.outside_name(p_kind => 'drop_index', p_attempt => p_run.attempt), p_run.statement ->> 'name');
  end if;
  perform ctx0_private.forget_outside(p_run => p_run);
end
$$;

comment on function ctx0_private.undo_outside(ctx0_private.ctx0_schema_outside) is
  'ctx0: ends a version that was running outside a transaction as if it had not begun';

-- begin_outside(p_action, p_step, p_applied_by): records that this version is running outside a transaction.
-- Result: as step_outside.
create function ctx0_private.begin_outside(p_action text, p_step ctx0_private.schema_step, p_applied_by text)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_statement constant jsonb := ctx0_private.resolve_outside(p_statement => p_step.outside);
  v_name      constant text := ctx0_private.outside_name(p_kind => p_step.outside ->> 'kind', p_attempt => p_step.attempt);
  v_run       ctx0_private.ctx0_schema_outside;
  v_state     text;
  v_message   text;
begin
  if v_statement ? 'nothing' then
    return '{"sql": []}';
  elsif v_statement ? 'failure' then
    return (v_statement -> 'failure') || '{"outcome": "failed"}';
  end if;
  begin
    insert into ctx0_private.ctx0_schema_outside (attempt, action, version, checksum, statement, applied_by)
    values (p_step.attempt, p_action, p_step.version, p_step.checksum, v_statement, p_applied_by);
    if v_statement ->> 'kind' = 'drop_index' then
      execute format('alter index %I.%I rename to %I', v_statement ->> 'schema', v_statement ->> 'name', v_name);
    end if;
  exception when query_canceled or others then
    get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
    return ctx0_private.failure(p_sqlstate => v_state, p_message => v_message) || '{"outcome": "failed"}';
  end;
  select * into v_run from ctx0_private.outside_run();
  return ctx0_private.run_outside(p_sql => ctx0_private.outside_sql(p_run => v_run));
end
$$;

comment on function ctx0_private.begin_outside(text, ctx0_private.schema_step, text) is
  'ctx0: records that a version is running outside a transaction';

-- outside_is_done(p_run, p_response): whether the statement has done what it is for.
create function ctx0_private.outside_is_done(p_run ctx0_private.ctx0_schema_outside, p_response jsonb)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_statement constant jsonb := p_run.statement;
begin
  return case v_statement ->> 'kind'
    when 'create_index' then coalesce((select valid from ctx0_private.outside_index(p_run => p_run)), false)
    when 'drop_index' then not exists (select from ctx0_private.outside_index(p_run => p_run))
    when 'detach_partition' then ctx0_private.detach_is_pending(p_run => p_run) is null
    -- Where nothing is counted, the response has to do. It can be run again.
    when 'vacuum' then coalesce(pg_stat_get_last_vacuum_time((v_statement ->> 'table_id')::oid) >= p_run.started_at, false)
                       or coalesce(p_response = '{}', false)
    else not exists (
      select from jsonb_array_elements_text(v_statement -> 'indexes') o (id)
        join pg_class c on c.oid = o.id::oid) end;
end
$$;

comment on function ctx0_private.outside_is_done(ctx0_private.ctx0_schema_outside, jsonb) is
  'ctx0: whether a statement outside a transaction has done what it is for';

-- outside_left_over(p_run): an index that has to be removed before the statement can run again, or for ever if it must
-- not, as %I.%I; null where there is none.
create function ctx0_private.outside_left_over(p_run ctx0_private.ctx0_schema_outside)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select format('%I.%I', n.nspname, c.relname)
      from pg_index i
      join pg_class c on c.oid = i.indexrelid
      join pg_namespace n on n.oid = c.relnamespace
     where i.indrelid = (p_run.statement ->> 'table_id')::oid
       and case p_run.statement ->> 'kind'
             when 'create_index' then c.relname = ctx0_private.outside_name(p_kind => 'create_index', p_attempt => p_run.attempt)
             when 'reindex' then not i.indisvalid and c.relname ~ '_cc(new|old)\d*$'
                                 and not p_run.statement -> 'all_indexes' @> to_jsonb(i.indexrelid::oid::bigint) end
     limit 1);
end
$$;

comment on function ctx0_private.outside_left_over(ctx0_private.ctx0_schema_outside) is
  'ctx0: an index that an interrupted statement outside a transaction has left';

-- is_past_return(p_run): whether an interrupted statement has left what can only be brought to its end: an index that
-- is not valid any more and is to be dropped, or a partition that is half detached.
create function ctx0_private.is_past_return(p_run ctx0_private.ctx0_schema_outside)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return case p_run.statement ->> 'kind'
    when 'drop_index' then exists (select from ctx0_private.outside_index(p_run => p_run) where not valid)
    when 'detach_partition' then coalesce(ctx0_private.detach_is_pending(p_run => p_run), false)
    else false end;
end
$$;

comment on function ctx0_private.is_past_return(ctx0_private.ctx0_schema_outside) is
  'ctx0: whether an interrupted statement can only be brought to its end';

-- stray_index(): while nothing is running outside a transaction, an index that a late copy of a statement has made, as
-- %I.%I, or null. The next version outside a transaction removes it first.
create function ctx0_private.stray_index()
returns text
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select format('%I.%I', n.nspname, c.relname)
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
   where c.relkind = 'i' and c.relname ~ '^ctx0_create_[0-9a-f]{32}$'
   limit 1;
$$;

comment on function ctx0_private.stray_index() is
  'ctx0: an index that a late copy of a statement has made';

-- drop_inside(p_index): removes an index in this transaction, where nothing removes it outside one. Whether its table was
-- free for that.
create function ctx0_private.drop_inside(p_index text)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  execute concat('drop index ', p_index);
  return true;
exception when lock_not_available then
  return false;
end
$$;

comment on function ctx0_private.drop_inside(text) is
  'ctx0: removes an index in this transaction';

-- settle_job(p_run, p_cancelled): ends the job of pg_cron that was to run the statement, and records why. Result: as
-- job_end(), null while nothing is known.
create function ctx0_private.settle_job(p_run ctx0_private.ctx0_schema_outside, p_cancelled boolean)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- This may be what the job is to remove.
  v_left_over constant text := ctx0_private.outside_left_over(p_run => p_run);
  v_end       constant jsonb := case when p_cancelled and v_left_over is null then '{}'
                                     else ctx0_private.job_end(p_run => p_run, p_left_over => v_left_over) end;
begin
  if v_end is not null then
    perform ctx0_private.remove_job(p_run => p_run);
    update ctx0_private.ctx0_schema_outside
       set job = null, no_job = v_end ->> 'no_job', failure = coalesce(failure, v_end -> 'failure'),
           runs = runs - (v_end ? 'no_job')::integer,
           run_at = case when p_cancelled then clock_timestamp() else run_at end
     where only_row;
  end if;
  return v_end;
end
$$;

comment on function ctx0_private.settle_job(ctx0_private.ctx0_schema_outside, boolean) is
  'ctx0: ends the job of a version that is running outside a transaction';

-- outside_failure(p_run, p_response, p_no_way): why the statement is not run again, as failure(), or null. p_no_way: why
-- nothing runs it, or null.
create function ctx0_private.outside_failure(p_run ctx0_private.ctx0_schema_outside, p_response jsonb, p_no_way text)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_state constant text := p_response ->> 'sqlstate';
begin
  if p_run.failure is not null then
    return p_run.failure;
  elsif p_no_way is not null then
    return ctx0_private.failure(p_sqlstate => 'CTX05', p_message => p_no_way);
  -- A copy of the statement that runs while another one does finds the name taken, or they wait for each other until
  -- one of them ends in a deadlock. A server that is shut down says nothing about the statement.
  elsif v_state not in ('CTX05', '42P07', '42704', '40P01') and v_state !~ '^(08|53|57P)'
        and not ctx0_private.is_past_return(p_run => p_run) then
    return ctx0_private.failure(
      p_sqlstate => v_state, p_message => p_response ->> 'message',
      p_hint => case v_state when '57014' then
        'If that was a statement_timeout: it is one of the role that /pg/query connects as, or of the database. Set it higher, such as '
        '"alter role postgres set statement_timeout = ''2h''", then try again.' end);
  elsif p_run.runs >= 6 then
    return ctx0_private.failure('CTX04', format('the statement was interrupted %s times', p_run.runs),
      'Ask whoever runs the database why, such as a statement_timeout or a restart.');
  end if;
  return null;
end
$$;

comment on function ctx0_private.outside_failure(ctx0_private.ctx0_schema_outside, jsonb, text) is
  'ctx0: why a statement outside a transaction is not run again';

-- step_outside(...): what is next for a version that runs outside a transaction. Each copy of its request asks,
-- the first one and those that follow it. The caller holds the lock.
--
-- Arguments
--   p_response  what came back for the statement of the last response: {} where it ran, or {sqlstate, message};
--               null where that is not known. CTX05: this client has nothing that runs it, so pg_cron does.
--               With "inside" it may run inside a transaction if nothing else runs it and its table is smaller than
--               "below_bytes", where that is there
--
-- Result: jsonb
--   {sql}                        it is done, or was nothing to do: this SQL, with the row in the ledger, is the rest
--   {outcome: outside, sql}      the client runs this outside a transaction, and asks again
--   {outcome: locked, held_by}   it is running
--   {outcome: failed, sqlstate, message, hint}, {outcome: cancelled, cancelled_by, statement}
--                                nothing of it is left
create function ctx0_private.step_outside(
  p_action     text,
  p_step       ctx0_private.schema_step,
  p_applied_by text,
  p_response   jsonb
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_running constant jsonb := '{"outcome": "locked", "held_by": "attempt"}';
  v_inside     constant text := ctx0_private.inside_sql(p_outside => p_step.outside);
  v_response   jsonb := p_response;
  v_run        ctx0_private.ctx0_schema_outside;
  v_cancelled  text;
  v_done       boolean;
  v_job_end    jsonb;
  v_left_over  text;
  v_by_cron    boolean := false; -- whether pg_cron runs it
  v_no_way     text; -- why nothing runs it
  v_bytes      bigint;
  v_next       text;
begin
  select * into v_run from ctx0_private.outside_run();
  if not found then
    v_cancelled := ctx0_private.cancelled_by(p_attempt => p_step.attempt);
    if v_cancelled is not null then
      return jsonb_build_object('outcome', 'cancelled', 'cancelled_by', v_cancelled, 'statement', 0);
    end if;
    v_left_over := ctx0_private.stray_index();
    if v_left_over is not null and p_response is null then
      return ctx0_private.run_outside(p_sql => ctx0_private.removal(p_index => v_left_over));
    elsif v_left_over is not null and p_response ->> 'sqlstate' = 'CTX05' then
      perform ctx0_private.drop_inside(p_index => v_left_over);
    end if;
    return ctx0_private.begin_outside(p_action => p_action, p_step => p_step, p_applied_by => p_applied_by);
  end if;

  if ctx0_private.outside_backend(p_run => v_run) is not null then
    perform ctx0_private.disarm_job(p_run => v_run);
    return v_is_running;
  end if;
  v_cancelled := ctx0_private.cancelled_by(p_attempt => v_run.attempt);
  v_done := ctx0_private.outside_is_done(p_run => v_run, p_response => v_response);
  if v_run.job is not null and (not v_done or v_cancelled is not null or v_run.failure is not null) then
    v_job_end := ctx0_private.settle_job(p_run => v_run, p_cancelled => v_cancelled is not null);
    if v_job_end is null then
      return v_is_running;
    end if;
    -- What the client says is from the time before the job.
    v_response := case when v_job_end ? 'ran' then '{}'::jsonb end;
    select * into v_run from ctx0_private.outside_run();
    v_done := ctx0_private.outside_is_done(p_run => v_run, p_response => v_response);
  end if;
  v_left_over := ctx0_private.outside_left_over(p_run => v_run);

  if v_response ->> 'sqlstate' = 'CTX05' then
    v_no_way := coalesce(v_run.no_job, ctx0_private.no_cron());
    v_by_cron := v_no_way is null;
    v_no_way := coalesce((v_response ->> 'message') || '; ', '') || v_no_way;
  end if;
  if v_no_way is not null and (v_response ->> 'inside')::boolean and v_inside is not null
     and v_run.runs = 1 and v_left_over is null and not v_done then
    v_bytes := ctx0_private.table_bytes(p_table => (v_run.statement ->> 'table_id')::oid, p_whole => true);
    if v_bytes < coalesce((v_response ->> 'below_bytes')::bigint, v_bytes + 1) then
      perform ctx0_private.undo_outside(p_run => v_run);
      return jsonb_build_object('sql', jsonb_build_array(v_inside));
    end if;
    v_no_way := concat(v_no_way, format('; its table is too large to be locked instead (%s)', pg_size_pretty(v_bytes)));
  end if;
  v_run.failure := ctx0_private.outside_failure(p_run => v_run, p_response => v_response, p_no_way => v_no_way);

  if v_done and v_run.statement ->> 'kind' = 'create_index' then
    if v_cancelled is null and v_run.failure is null then
      return jsonb_build_object('sql', jsonb_build_array(format(
        'alter index %s rename to %I', v_left_over, v_run.statement ->> 'name')));
    end if;
  elsif v_done then
    return '{"sql": []}';
  elsif ctx0_private.is_past_return(p_run => v_run) and v_run.runs < 12 then
    v_cancelled := null;
    v_run.failure := null;
  end if;
  -- A copy of the statement may still be on its way.
  if (v_response is null or v_cancelled is not null) and clock_timestamp() < v_run.run_at + interval '3 s' then
    return v_is_running;
  end if;

  if v_left_over is not null and v_no_way is not null then
    if not ctx0_private.drop_inside(p_index => v_left_over) then
      return v_is_running;
    end if;
    v_left_over := null;
  end if;
  v_next := case when v_left_over is not null then ctx0_private.removal(p_index => v_left_over)
                 when v_cancelled is null and v_run.failure is null then ctx0_private.outside_sql(p_run => v_run) end;
  if v_next is not null then
    update ctx0_private.ctx0_schema_outside set failure = v_run.failure where only_row;
    if v_by_cron and ctx0_private.begin_job(p_run => v_run, p_sql => v_next) then
      return v_is_running;
    end if;
    return ctx0_private.run_outside(p_sql => v_next);
  end if;
  perform ctx0_private.undo_outside(p_run => v_run);
  return case when v_cancelled is not null
    then jsonb_build_object('outcome', 'cancelled', 'cancelled_by', v_cancelled, 'statement', 1)
    else v_run.failure || '{"outcome": "failed"}' end;
end
$$;

comment on function ctx0_private.step_outside(text, ctx0_private.schema_step, text, jsonb) is
  'ctx0: what is next for a version that runs outside a transaction';

-- end_outside(p_attempt): ends a version that was cancelled and whose statement is not running, and records that.
-- Whether it has ended: where its table is in use, not yet.
create function ctx0_private.end_outside(p_attempt uuid)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_by        constant text := ctx0_private.cancelled_by(p_attempt => p_attempt);
  v_run       ctx0_private.ctx0_schema_outside;
  v_left_over text;
  v_answer    jsonb;
begin
  select * into v_run from ctx0_private.outside_run() where attempt = p_attempt;
  if not found then
    return true;
  elsif v_run.statement ->> 'kind' <> 'create_index'
        and (ctx0_private.is_past_return(p_run => v_run) or ctx0_private.outside_is_done(p_run => v_run, p_response => null)) then
    return false; -- It is brought to its end by the client that runs it, which needs the lock for that.
  elsif not pg_try_advisory_xact_lock(ctx0_private.lock_key(), 1) then
    return false;
  end if;
  select * into v_run from ctx0_private.outside_run() where attempt = p_attempt;
  if not found or ctx0_private.outside_backend(p_run => v_run) is not null then
    return not found;
  end if;
  begin
    v_left_over := ctx0_private.outside_left_over(p_run => v_run);
    if v_left_over is not null then
      execute concat('drop index ', v_left_over);
    end if;
    perform ctx0_private.undo_outside(p_run => v_run);
  exception when lock_not_available then
    return false;
  end;
  v_answer := jsonb_build_object(
    'outcome', 'cancelled', 'cancelled_by', v_by, 'statement', 1, 'version', v_run.version, 'attempt', v_run.attempt,
    'current_version', ctx0_private.current_version());
  insert into ctx0_private.ctx0_schema_attempts
         (attempt, action, version, outcome, checksum, applied_by, started_at, finished_at, result, request, cancelled_by,
          server_version)
  values (v_run.attempt, v_run.action, v_run.version, 'cancelled', v_run.checksum, v_run.applied_by, v_run.started_at,
          clock_timestamp(), v_answer, v_run.attempt, v_by, current_setting('server_version_num')::integer);
  return true;
end
$$;

comment on function ctx0_private.end_outside(uuid) is
  'ctx0: ends a version that was cancelled while it was running outside a transaction';
