-- ctx0_rehearse_migrations(p_steps, p_expected_version): runs versions for real, looks at what
-- changed, and takes everything back.
--
-- Arguments
--   p_steps             a list of objects, in the order in which they would run:
--                         {"action": "apply", version, name, description, sql: [pieces], checksum}
--                         {"action": "rollback", version, sql: [pieces] or null, checksum or null}
--   p_expected_version  the ledger's highest version as the caller knows it; null: do not compare
--
-- Result: jsonb with "outcome", "current_version" and "rpc_version", and
--   rehearsed  + versions: one an executed step, the last of which may have failed, each as
--                  run_migration and
--                    action, version, name
--                    objects: [{before: object or null, after: object or null}], those that
--                             differ, with object = {id, kind, name, definition} as schema_objects
--                    locks:   [{id, relation, mode}]: tables and views that were there before, with
--                             the strongest lock, where no earlier step took as strong a one
--                    rewrites: [{id, relation, empty}]: tables whose file was replaced, and whether the new
--                             one has nothing in it
--                    rows:    [{id, relation, existed, inserted, updated, deleted}], and whether the table
--                             was there before
--              + tables: facts about the tables that lose or rewrite something, as they are without
--                  the change: [{id, relation, bytes, rows, has_rows, filled: [column numbers]}];
--                  rows is an estimate, or null; filled lists the columns in the first 10,000 rows
--                  of which there is a value; where a table cannot be read, all that could be lost counts
--              + sequences: those from which numbers were drawn that could not be taken back
--   locked     + rehearsal: whether another rehearsal runs, and not a change of the schema
--   conflict   + reason: damaged | unexpected_version | gap | not_reversible, and message
-- Errors: 42501 for anyone but the service role and the owner, 22023 for a wrong argument.
-- Who may call it: service_role.
--
-- Everything happens in a block that ends in an error of its own; what plpgsql's variables have
-- learned by then stays. Three things do not follow a transaction, and are seen to: the settings
-- and other left-overs of the session (cleaned), advisory locks (released), and the numbers of
-- sequences. `alter sequence` gives a sequence a new file within the transaction, so that
-- numbers are drawn from there and the old file comes back. This is done to each sequence
-- that the texts name, or whose table they name, unless it is in use at this moment.
--
-- lock_timeout: nobody's queries queue behind a rehearsal for long. statement_timeout: while a
-- rehearsal holds a table, the app waits for it, and the gateway gives up after 30 s anyway.
create function public.ctx0_rehearse_migrations(
  p_steps            jsonb,
  p_expected_version integer default null
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
declare
  v_step      jsonb;
  v_sql       text[];
  v_texts     text := '';
  v_current   integer;
  v_version   integer;
  v_answer    jsonb;
  v_versions  jsonb := '[]';
  v_tables    jsonb := '[]';
  v_table     record;
  v_filled    integer[];
  v_has_rows  boolean;
  v_base      ctx0_private.schema_object[];
  v_before    ctx0_private.schema_object[];
  v_after     ctx0_private.schema_object[];
  v_was       jsonb;
  v_is        jsonb;
  v_sequence  text;
  v_drawn     jsonb := '[]';
begin
  perform ctx0_private.check_caller();

  if coalesce(jsonb_typeof(p_steps), '') <> 'array' then
    raise invalid_parameter_value using message = 'ctx0_rehearse_migrations needs p_steps, a list';
  end if;
  -- The lock of rehearsals first, so that whoever meets the other one knows that no rehearsal has it.
  if not pg_try_advisory_xact_lock(ctx0_private.lock_key(), 2) then
    return ctx0_private.answer(p_fields => jsonb_build_object('outcome', 'locked', 'rehearsal', true));
  end if;
  if not pg_try_advisory_xact_lock(ctx0_private.lock_key(), 1) then
    return ctx0_private.answer(p_fields => jsonb_build_object('outcome', 'locked', 'rehearsal', false));
  end if;

  v_current := ctx0_private.current_version();
  if v_current <> p_expected_version then
    return ctx0_private.answer(p_fields => jsonb_build_object(
      'outcome', 'conflict', 'reason', 'unexpected_version', 'current_version', v_current,
      'message', format('the database has version %s, the caller expected %s', v_current, p_expected_version)));
  end if;

  begin
    v_version := v_current;
    for v_index in 0 .. jsonb_array_length(p_steps) - 1 loop
      v_step := p_steps -> v_index;
      v_sql := case when jsonb_typeof(v_step -> 'sql') = 'array'
                    then array(select jsonb_array_elements_text(v_step -> 'sql')) end;
      if coalesce(v_step ->> 'action', '') not in ('apply', 'rollback') or v_step ->> 'version' is null
         or v_step ->> 'action' = 'apply' and (v_step ->> 'name' is null or coalesce(cardinality(v_sql), 0) = 0) then
        raise invalid_parameter_value using
          message = format('step %s of p_steps needs action (apply or rollback), version, and to apply name and sql', v_index + 1);
      elsif not ctx0_private.is_intact(v_sql, v_step ->> 'checksum') then
        v_answer := jsonb_build_object('reason', 'damaged', 'message', 'the SQL that arrived is not the SQL of its checksum');
      elsif v_step ->> 'action' = 'apply' and (v_step ->> 'version')::integer <> v_version + 1
         or v_step ->> 'action' = 'rollback' and (v_step ->> 'version')::integer <> v_version then
        v_answer := jsonb_build_object('reason', 'gap',
          'message', format('the database would have version %s, so version %s cannot be next', v_version, v_step ->> 'version'));
      else
        if v_step ->> 'action' = 'rollback' then
          select coalesce(a.down_sql, case when v.attempt is null then v_sql end) into v_sql
            from public.ctx0_schema_versions v
            left join ctx0_private.ctx0_schema_attempts a on a.attempt = v.attempt
           where v.version = v_version;
          if v_sql is null then
            v_answer := jsonb_build_object('reason', 'not_reversible',
              'message', format('no way back is stored for version %s', v_version));
          end if;
          p_steps := jsonb_set(p_steps, array[v_index::text, 'sql'], coalesce(to_jsonb(v_sql), 'null'));
          v_version := v_version - 1;
        else
          v_version := v_version + 1;
        end if;
        v_texts := concat(v_texts, lower(array_to_string(v_sql, '')));
      end if;
      if v_answer is not null then
        return ctx0_private.answer(p_fields => v_answer || jsonb_build_object('outcome', 'conflict', 'current_version', v_current));
      end if;
    end loop;

    -- The sequences that may be drawn from.
    for v_sequence in
      select format('%s cache %s', s.seqrelid::regclass, s.seqcache)
        from pg_sequence s
        join pg_class c on c.oid = s.seqrelid
        left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid
                             and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
        left join pg_class t on t.oid = d.refobjid
       where pg_has_role(c.relowner, 'usage')
         and (t.oid = 'public.ctx0_schema_versions'::regclass
              or strpos(v_texts, lower(c.relname)) > 0 or strpos(v_texts, lower(t.relname)) > 0)
    loop
      begin
        perform set_config('lock_timeout', '100ms', true);
        execute 'alter sequence ' || v_sequence;
        perform set_config('lock_timeout', '2s', true);
      exception when lock_not_available then
        null;
      end;
    end loop;

    v_base := array(select o from ctx0_private.schema_objects(false) o);
    v_before := v_base;
    v_was := ctx0_private.observe_tables();

    for v_index in 0 .. jsonb_array_length(p_steps) - 1 loop
      v_step := p_steps -> v_index;
      v_answer := ctx0_private.run_migration(
        v_step ->> 'action', (v_step ->> 'version')::integer, v_step ->> 'name', v_step ->> 'description',
        array(select jsonb_array_elements_text(v_step -> 'sql')), v_step ->> 'checksum', 'rehearsal', null);
      perform ctx0_private.clean_session();
      perform set_config('search_path', 'pg_catalog, pg_temp', true);
      perform set_config('lock_timeout', '2s', true);
      v_answer := v_answer || jsonb_build_object(
        'action', v_step -> 'action', 'version', v_step -> 'version', 'name', v_step -> 'name');
      if v_answer ->> 'outcome' = 'failed' then
        v_versions := v_versions || v_answer;
        exit;
      end if;

      v_after := array(select o from ctx0_private.schema_objects(false) o);
      v_is := ctx0_private.observe_tables();
      v_answer := v_answer || jsonb_build_object(
        'objects', (
          select coalesce(jsonb_agg(jsonb_build_object(
                   'before', case when b.id is not null then to_jsonb(b) - 'class' end,
                   'after', case when a.id is not null then to_jsonb(a) - 'class' end)
                   order by coalesce(b.name, a.name), b.id nulls last), '[]')
            from unnest(v_before) b
            full join unnest(v_after) a on a.class = b.class and a.id = b.id
           where a is distinct from b),
        'locks', (
          select coalesce(jsonb_agg(jsonb_build_object(
                   'id', o.id, 'relation', o.name, 'mode', l.value ->> 1) order by o.name), '[]')
            from jsonb_each(v_is -> 'locks') l
            join unnest(v_base) o on o.id = l.key::oid and o.class = 'pg_class'::regclass
           where o.kind <> 'sequence'
             and (l.value -> 0)::integer > coalesce((v_was -> 'locks' -> l.key -> 0)::integer, 1)
             -- Every version writes its row into the ledger.
             and ((l.value -> 0)::integer > 3 or o.name <> 'public.ctx0_schema_versions')),
        'rewrites', (
          select coalesce(jsonb_agg(jsonb_build_object(
                   'id', o.id, 'relation', o.name, 'empty', pg_relation_size(o.id) = 0) order by o.name), '[]')
            from jsonb_each(v_was -> 'files') f
            join unnest(v_base) o on o.id = f.key::oid and o.class = 'pg_class'::regclass
           where f.value <> v_is -> 'files' -> f.key),
        -- `truncate` takes back what was counted.
        'rows', (
          select coalesce(jsonb_agg(jsonb_build_object(
                   'id', o.id, 'relation', o.name, 'existed', b.id is not null,
                   'inserted', greatest((r.value -> 0)::bigint - coalesce((v_was -> 'rows' -> r.key -> 0)::bigint, 0), 0),
                   'updated', greatest((r.value -> 1)::bigint - coalesce((v_was -> 'rows' -> r.key -> 1)::bigint, 0), 0),
                   'deleted', greatest((r.value -> 2)::bigint - coalesce((v_was -> 'rows' -> r.key -> 2)::bigint, 0), 0))
                   order by o.name), '[]')
            from jsonb_each(v_is -> 'rows') r
            join unnest(v_after) o on o.id = r.key::oid and o.class = 'pg_class'::regclass
            left join unnest(v_base) b on b.id = o.id and b.class = o.class
           where r.value is distinct from v_was -> 'rows' -> r.key
             and o.name <> 'public.ctx0_schema_versions'));
      v_was := v_is;

      v_versions := v_versions || v_answer;
      v_before := v_after;
      -- The next version has a transaction of its own, in which they would be deferred again.
      for v_sequence in
        select format('%s.%I', c.connamespace::regnamespace, c.conname) from pg_constraint c where c.condeferred
      loop
        execute format('set constraints %s deferred', v_sequence);
      end loop;
    end loop;

    -- Those that were in use, and then drawn from.
    select coalesce(jsonb_agg(s.seqrelid::regclass::text order by s.seqrelid), '[]') into v_drawn
      from pg_locks l
      join pg_sequence s on s.seqrelid = l.relation
     where l.locktype = 'relation' and l.pid = pg_backend_pid() and l.mode = 'RowExclusiveLock'
       and not exists (
             select from pg_locks o
              where o.locktype = 'relation' and o.pid = l.pid and o.relation = l.relation
                and o.mode in ('ShareRowExclusiveLock', 'AccessExclusiveLock'));

    raise sqlstate 'CTX00';
  exception
    when sqlstate 'CTX00' then
      null;
    when query_canceled then
      -- A migration's own end is in v_versions already; here the time ran out while looking.
      v_versions := v_versions || jsonb_build_object(
        'action', v_step -> 'action', 'version', v_step -> 'version', 'name', v_step -> 'name',
        'outcome', 'failed', 'statement', 0, 'sqlstate', '57014', 'message', sqlerrm, 'retryable', false);
  end;
  perform ctx0_private.clean_session();
  perform set_config('search_path', 'pg_catalog, pg_temp', true);
  perform set_config('lock_timeout', '100ms', true);

  -- What the change would cost, read where it has not happened.
  for v_table in
    select o.id, o.name,
           (select string_agg(format('case when count(%I) > 0 then %s end', d.definition[i][2], d.definition[i][4]), ', ')
              from (select o.definition) d, generate_subscripts(d.definition, 1) i
             where d.definition[i][1] = 'column') as columns,
           array(select o.definition[i][4]::integer from generate_subscripts(o.definition, 1) i
                  where o.definition[i][1] = 'column') as numbers
      from (
        select distinct i.id
          from jsonb_array_elements(v_versions) v
         cross join lateral (
           select x -> 'before' ->> 'id' from jsonb_array_elements(coalesce(v -> 'objects', '[]')) x
            union all
           select x ->> 'id' from jsonb_array_elements(coalesce(v -> 'rewrites', '[]')) x
         ) i (id)
      ) touched
      join unnest(v_base) o on o.id::text = touched.id and o.kind = 'table'
  loop
    begin
      execute format('select count(*) > 0, array_remove(array[%s]::integer[], null) from (select * from %s limit 10000) t',
                     v_table.columns, v_table.name)
         into v_has_rows, v_filled;
      v_tables := v_tables || (
        select jsonb_build_object('id', c.oid, 'relation', v_table.name, 'bytes', pg_total_relation_size(c.oid),
                                  'rows', nullif(c.reltuples, -1)::bigint, 'has_rows', v_has_rows, 'filled', v_filled)
          from pg_class c where c.oid = v_table.id);
    exception when others then
      -- In use at this moment. Who cannot look must not say that there is nothing to lose.
      v_tables := v_tables || (
        select jsonb_build_object('id', c.oid, 'relation', v_table.name, 'bytes', c.relpages * 8192::bigint,
                                  'rows', nullif(c.reltuples, -1)::bigint, 'has_rows', true, 'filled', v_table.numbers)
          from pg_class c where c.oid = v_table.id);
    end;
  end loop;

  return ctx0_private.answer(p_fields => jsonb_build_object('outcome', 'rehearsed', 'current_version', v_current,
    'versions', v_versions, 'tables', v_tables, 'sequences', v_drawn));
end
$$;

comment on function public.ctx0_rehearse_migrations(jsonb, integer) is
  'ctx0: runs schema versions, tells what they would change, and takes everything back';
