-- What a statement outside a transaction is about, and why PostgreSQL would refuse it: known before it runs.

-- failure(p_sqlstate, p_message, p_hint): why a statement outside a transaction cannot run.
create function ctx0_private.failure(p_sqlstate text, p_message text, p_hint text default null)
returns jsonb
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_strip_nulls(jsonb_build_object('sqlstate', p_sqlstate, 'message', p_message, 'hint', nullif(p_hint, '')));
$$;

comment on function ctx0_private.failure(text, text, text) is
  'ctx0: why a statement outside a transaction cannot run';

-- try_index(p_statement, p_table): why PostgreSQL would refuse this index, as failure(), or null. It is made on
-- an empty copy of the table, which is rolled back.
create function ctx0_private.try_index(p_statement jsonb, p_table regclass)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table   constant text := (select relname from pg_class where oid = p_table);
  v_state   text;
  v_message text;
  v_hint    text;
begin
  begin
    -- The table's own name: the predicate may say it.
    execute format('create temp table %I (like %s)', v_table, p_table::text);
    perform set_config('search_path', 'public, extensions', true);
    execute pg_catalog.format(
      'create %s index %I on pg_temp.%I %s', case when (p_statement ->> 'unique')::boolean then 'unique' end, p_statement ->> 'name', v_table,
      p_statement ->> 'rest');
    raise sqlstate 'CTX02';
  exception
    when sqlstate 'CTX02' then
      return null;
    when others then
      get stacked diagnostics v_state = returned_sqlstate, v_message = message_text, v_hint = pg_exception_hint;
      return ctx0_private.failure(p_sqlstate => v_state, p_message => v_message, p_hint => v_hint);
  end;
end
$$;

comment on function ctx0_private.try_index(jsonb, regclass) is
  'ctx0: why PostgreSQL would refuse an index';

-- resolve_detach(p_statement, p_table): as resolve_outside(), of a partition to be detached from this table, with
-- partition_id.
create function ctx0_private.resolve_detach(p_statement jsonb, p_table regclass)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_partition regclass;
  v_pending   boolean;
  v_problem   jsonb;
begin
  perform set_config('search_path', 'public, extensions', true);
  v_partition := pg_catalog.to_regclass(p_statement ->> 'partition');
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  select i.inhdetachpending into v_pending from pg_inherits i where i.inhrelid = v_partition and i.inhparent = p_table;

  if p_table is null and (p_statement ->> 'if_exists')::boolean then
    return p_statement || '{"nothing": true}';
  elsif p_table is null or v_partition is null then
    v_problem := ctx0_private.failure('42P01', format(
      'relation "%s" does not exist', p_statement ->> case when p_table is null then 'table' else 'partition' end));
  elsif v_pending is null then
    v_problem := ctx0_private.failure('42P01', format('relation "%s" is not a partition of relation "%s"', v_partition, p_table));
  elsif v_pending then
    v_problem := ctx0_private.failure('55000', format('partition "%s" is being detached already, or that was interrupted', v_partition),
      format('Run "alter table %s detach partition %s finalize" in the SQL editor, then mark the version as applied.', p_table, v_partition));
  elsif exists (select from pg_partitioned_table t where t.partrelid = p_table and t.partdefid <> 0) then
    v_problem := ctx0_private.failure('55000', 'cannot detach partitions concurrently when a default partition exists',
      'Detach it without "concurrently", in a version that is a transaction.');
  end if;
  return jsonb_strip_nulls(p_statement || jsonb_build_object(
    'table_id', p_table::oid, 'partition_id', v_partition::oid, 'failure', v_problem));
end
$$;

comment on function ctx0_private.resolve_detach(jsonb, regclass) is
  'ctx0: what a statement that detaches a partition is about';

-- resolve_outside(p_statement): what a statement is about, by the search_path of a migration: p_statement with
--   schema, table_id, index_id  index_id of an index to drop
--   failure                     why it cannot run, as failure()
--   nothing                     true where nothing is to be done, because of `if [not] exists`
create function ctx0_private.resolve_outside(p_statement jsonb)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id      regclass;
  v_class   pg_class;
  v_schema  name;
  v_there   pg_index;
  v_name    text;
  v_problem jsonb;
  v_path    constant text := 'public, extensions';
begin
  perform set_config('search_path', v_path, true);
  v_id := pg_catalog.to_regclass(coalesce(p_statement ->> 'table', p_statement ->> 'index', p_statement ->> 'relation'));
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  select * into v_class from pg_class where oid = v_id;
  v_schema := (select nspname from pg_namespace where oid = v_class.relnamespace);

  if p_statement ->> 'kind' = 'create_index' then
    v_name := p_statement ->> 'name';
    if v_id is null then
      v_problem := ctx0_private.failure('42P01', format('relation "%s" does not exist', p_statement ->> 'table'),
        ctx0_private.elsewhere(p_name => p_statement ->> 'table', p_path => v_path));
    elsif v_class.relkind not in ('r', 'm') then
      v_problem := ctx0_private.failure('42809', format('an index on %s cannot be created concurrently', v_id),
        'Of a partitioned table, create the index on each partition, and then on the table without "concurrently".');
    else
      select i.* into v_there
        from pg_class c
        left join pg_index i on i.indexrelid = c.oid
       where c.relnamespace = v_class.relnamespace and c.relname = v_name;
      if found and (p_statement ->> 'if_not_exists')::boolean and v_there.indrelid = v_id and v_there.indisvalid then
        return p_statement || '{"nothing": true}';
      elsif found then
        v_problem := ctx0_private.failure('42P07', format('relation "%s" already exists', v_name), case
          when not v_there.indisvalid then format(
            'It is an index that is not valid: "create index concurrently" was interrupted. Run "drop index concurrently %I.%I" in the SQL editor, then try again.',
            v_schema, v_name) end);
      else
        v_problem := ctx0_private.try_index(p_statement => p_statement, p_table => v_id);
      end if;
    end if;
    return jsonb_strip_nulls(p_statement || jsonb_build_object(
      'schema', v_schema, 'table_id', v_id::oid, 'failure', v_problem));
  end if;

  if p_statement ->> 'kind' = 'detach_partition' then
    return ctx0_private.resolve_detach(p_statement => p_statement, p_table => v_id);
  end if;

  select * into v_there from pg_index where indexrelid = v_id;
  if p_statement ->> 'kind' in ('vacuum', 'reindex') then
    if v_id is null then
      v_name := coalesce(p_statement ->> 'table', p_statement ->> 'relation');
      v_problem := ctx0_private.failure('42P01', format('relation "%s" does not exist', v_name),
        ctx0_private.elsewhere(p_name => v_name, p_path => v_path));
    elsif v_class.relkind not in ('r', 'm', 'i') then
      v_problem := ctx0_private.failure('42809', format('%s is neither a table nor an index, or it has partitions', v_id),
        'Name its partitions, each in a version of its own.');
    end if;
    return jsonb_strip_nulls(p_statement || jsonb_build_object(
      'schema', v_schema, 'table_id', coalesce(v_there.indrelid, v_id)::oid, 'failure', v_problem,
      -- A new index takes the name of each of these, and those that are there already are nobody's left-overs.
      'indexes', (select jsonb_agg(i.indexrelid::oid) from pg_index i where i.indexrelid = v_id or i.indrelid = v_id),
      'all_indexes', (select jsonb_agg(i.indexrelid::oid) from pg_index i where i.indrelid = coalesce(v_there.indrelid, v_id))));
  elsif v_id is null and (p_statement ->> 'if_exists')::boolean then
    return p_statement || '{"nothing": true}';
  elsif v_id is null then
    v_problem := ctx0_private.failure('42704', format('index "%s" does not exist', p_statement ->> 'index'),
      ctx0_private.elsewhere(p_name => p_statement ->> 'index', p_path => v_path));
  elsif v_class.relkind <> 'i' or v_class.relispartition then
    v_problem := ctx0_private.failure('42809', format('%s cannot be dropped concurrently', v_id),
      'Only an index of a table that is not partitioned can, and not a part of one.');
  elsif exists (select from pg_constraint where conindid = v_id) then
    v_problem := ctx0_private.failure('2BP01', format('cannot drop index %s because a constraint requires it', v_id),
      'Drop the constraint instead, in a version that is a transaction.');
  end if;
  return jsonb_strip_nulls(p_statement || jsonb_build_object(
    'schema', v_schema, 'table_id', v_there.indrelid, 'name', v_class.relname, 'failure', v_problem));
end
$$;

comment on function ctx0_private.resolve_outside(jsonb) is
  'ctx0: what a statement outside a transaction is about';

-- outside_table(p_outside): the table that a statement outside a transaction works on, as {relation, bytes, reads}; null
-- where there is none. bytes: its size with its indexes. reads: how many bytes the statement reads, at least. An index
-- that is made concurrently reads its table twice.
create function ctx0_private.outside_table(p_outside jsonb)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id    regclass;
  v_index pg_index;
  v_reads bigint;
begin
  perform set_config('search_path', 'public, extensions', true);
  v_id := pg_catalog.to_regclass(coalesce(p_outside ->> 'table', p_outside ->> 'index', p_outside ->> 'relation'));
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  select * into v_index from pg_index where indexrelid = v_id;
  v_id := coalesce(v_index.indrelid, v_id);
  v_reads := case p_outside ->> 'kind'
    when 'create_index' then 2 * pg_relation_size(v_id)
    when 'vacuum' then pg_total_relation_size(v_id)
    when 'reindex' then 2 * pg_relation_size(v_id) * case
      when v_index.indexrelid is not null then 1 else (select count(*) from pg_index i where i.indrelid = v_id) end
    else 0 end;
  return (
    select jsonb_build_object(
             'relation', format('%I.%I', n.nspname, c.relname),
             'bytes', ctx0_private.table_bytes(p_table => v_id, p_whole => true),
             'reads', v_reads)
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where c.oid = v_id);
end
$$;

comment on function ctx0_private.outside_table(jsonb) is
  'ctx0: the table that a statement outside a transaction works on';

-- detach_is_pending(p_run): null where a partition has been detached, true where that has begun, and else false.
create function ctx0_private.detach_is_pending(p_run ctx0_private.ctx0_schema_outside)
returns boolean
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select i.inhdetachpending
    from pg_inherits i
   where i.inhparent = (p_run.statement ->> 'table_id')::oid and i.inhrelid = (p_run.statement ->> 'partition_id')::oid;
$$;

comment on function ctx0_private.detach_is_pending(ctx0_private.ctx0_schema_outside) is
  'ctx0: whether a partition is being detached';

-- outside_sql(p_run): the statement to run.
create function ctx0_private.outside_sql(p_run ctx0_private.ctx0_schema_outside)
returns text
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select case p_run.statement ->> 'kind'
    when 'create_index' then concat_ws(' ',
      'create', case when (p_run.statement ->> 'unique')::boolean then 'unique' end, 'index concurrently', quote_ident(n.name),
      'on', (p_run.statement ->> 'table_id')::oid::regclass, p_run.statement ->> 'rest')
    when 'drop_index' then ctx0_private.removal(p_index => format('%I.%I', p_run.statement ->> 'schema', n.name))
    when 'detach_partition' then format('/* %s */ alter table %s detach partition %s %s', n.name,
      (p_run.statement ->> 'table_id')::oid::regclass, (p_run.statement ->> 'partition_id')::oid::regclass,
      case when ctx0_private.detach_is_pending(p_run => p_run) then 'finalize' else 'concurrently' end)
    else format('/* %s */ %s', n.name, p_run.statement ->> 'sql') end
    from ctx0_private.outside_name(p_kind => p_run.statement ->> 'kind', p_attempt => p_run.attempt) n (name);
$$;

comment on function ctx0_private.outside_sql(ctx0_private.ctx0_schema_outside) is
  'ctx0: the statement of a version that runs outside a transaction';
