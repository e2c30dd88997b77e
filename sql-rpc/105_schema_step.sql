-- schema_step: a version to apply or to roll back, as a client sends it. The fields are the arguments
-- of ctx0_apply_migration; of a rollback, sql is the down text for a version that was recorded by
-- hand, and checksum is its checksum. outside and down_outside: what the one statement of sql or down_sql
-- does, if it runs outside a transaction.
create type ctx0_private.schema_step as (
  version          integer,
  name             text,
  description      text,
  sql              text[],
  checksum         text,
  down_sql         text[],
  down_checksum    text,
  expected_version integer,
  attempt          uuid,
  breaking         boolean,
  min_app_version  text,
  outside          jsonb,
  down_outside     jsonb
);

comment on type ctx0_private.schema_step is
  'ctx0: a version to apply or to roll back';

-- stored_down(p_version, p_sql, p_outside): what rolls a version back: as it was stored when the version was
-- applied, or as given where it was recorded by hand. Null where there is none, or no such version.
--
-- Result: sql, the statements, and outside, what the one statement does if it runs outside a transaction.
create function ctx0_private.stored_down(
  p_version   integer,
  p_sql       text[],
  p_outside   jsonb,
  out sql     text[],
  out outside jsonb
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  select case when a.down_sql is not null then a.down_sql when v.attempt is null then p_sql end,
         case when a.down_sql is not null then a.down_outside when v.attempt is null then p_outside end
    into sql, outside
    from public.ctx0_schema_versions v
    left join ctx0_private.ctx0_schema_attempts a on a.attempt = v.attempt
   where v.version = p_version;
end
$$;

comment on function ctx0_private.stored_down(integer, text[], jsonb) is
  'ctx0: what rolls a version back';

-- inside_sql(p_outside): the statement without `concurrently`, which does the same inside a transaction; null where
-- there is no such.
create function ctx0_private.inside_sql(p_outside jsonb)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case p_outside ->> 'kind'
    when 'create_index' then concat_ws(' ',
      'create', case when (p_outside ->> 'unique')::boolean then 'unique' end, 'index',
      case when (p_outside ->> 'if_not_exists')::boolean then 'if not exists' end, quote_ident(p_outside ->> 'name'),
      'on', p_outside ->> 'table', p_outside ->> 'rest')
    when 'drop_index' then concat_ws(' ', 'drop index', case when (p_outside ->> 'if_exists')::boolean then 'if exists' end, p_outside ->> 'index')
    when 'detach_partition' then concat_ws(' ',
      'alter table', case when (p_outside ->> 'if_exists')::boolean then 'if exists' end, p_outside ->> 'table',
      'detach partition', p_outside ->> 'partition') end;
$$;

comment on function ctx0_private.inside_sql(jsonb) is
  'ctx0: a statement that runs outside a transaction as one that runs inside';

-- decide_change(p_action, p_step): the response to a step that must not or need not run, or null.
-- The caller holds the lock. p_step.sql of a rollback is the SQL that would run.
create function ctx0_private.decide_change(p_action text, p_step ctx0_private.schema_step)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- See current_version().
set enable_seqscan = off
as $$
declare
  v_current constant integer := ctx0_private.current_version();
  v_ledger  public.ctx0_schema_versions;
  v_known   boolean;
  v_reason  text;
  v_message text;
begin
  select * into v_ledger from public.ctx0_schema_versions where version = p_step.version;
  v_known := found;

  if p_action = 'apply' and v_known and v_ledger.migration_name = p_step.name
     and coalesce(v_ledger.checksum, p_step.checksum) = p_step.checksum then
    return jsonb_build_object('outcome', 'already_applied');
  elsif p_action = 'rollback' and not v_known and v_current < p_step.version then
    return jsonb_build_object('outcome', 'already_rolled_back');
  elsif p_action = 'apply' and v_known then
    v_reason := 'different_migration';
    v_message := format('version %s is in the ledger as %s, from another text', p_step.version, v_ledger.migration_name);
  elsif v_current <> p_step.expected_version then
    v_reason := 'unexpected_version';
    v_message := format('the database has version %s, the caller expected %s', v_current, p_step.expected_version);
  elsif p_action = 'apply' and p_step.version <> v_current + 1 then
    v_reason := 'gap';
    v_message := format('the database has version %s, so version %s cannot be next', v_current, p_step.version);
  elsif p_action = 'rollback' and p_step.version <> v_current then
    v_reason := 'gap';
    v_message := format('the database has version %s, so version %s cannot be rolled back first', v_current, p_step.version);
  elsif p_step.sql is null then
    v_reason := 'not_reversible';
    v_message := format('no down text is stored for version %s', p_step.version);
  else
    return null;
  end if;
  return jsonb_build_object('outcome', 'conflict', 'reason', v_reason, 'message', v_message);
end
$$;

comment on function ctx0_private.decide_change(text, ctx0_private.schema_step) is
  'ctx0: the response to a step that must not or need not run';

-- recorded_response(p_action, p_step): the response that a copy of this request got before, or the
-- conflict where its attempt was used for something else, or null.
create function ctx0_private.recorded_response(p_action text, p_step ctx0_private.schema_step)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- See current_version().
set enable_seqscan = off
as $$
declare
  v_earlier ctx0_private.ctx0_schema_attempts;
begin
  select * into v_earlier from ctx0_private.ctx0_schema_attempts where attempt = p_step.attempt;
  if not found then
    return null;
  elsif v_earlier.action = p_action and v_earlier.version = p_step.version
        and (p_action = 'rollback' or v_earlier.checksum is not distinct from p_step.checksum) then
    return v_earlier.result || jsonb_build_object('replayed', true);
  end if;
  return jsonb_build_object(
    'outcome', 'conflict', 'reason', 'attempt_reused', 'message', 'this attempt was used for something else before');
end
$$;

comment on function ctx0_private.recorded_response(text, ctx0_private.schema_step) is
  'ctx0: the response that a copy of this request got before';

-- is_of_text(p_outside, p_sql): whether what a statement does, as the client took it apart, is in its text.
create function ctx0_private.is_of_text(p_outside jsonb, p_sql text[])
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select p_outside is null or p_sql is null or not exists (
    select from jsonb_each_text(p_outside) p
     where p.key in ('table', 'rest', 'index', 'relation', 'partition', 'sql') and strpos(array_to_string(p_sql, ''), p.value) = 0);
$$;

comment on function ctx0_private.is_of_text(jsonb, text[]) is
  'ctx0: whether what a statement does is in its text';

-- first_damaged(p_steps): the conflict of the first step whose SQL is not the SQL of its checksum, or
-- null. A body that was damaged on the way says nothing about its attempts: it is refused and not
-- recorded, so that an intact copy can still arrive.
create function ctx0_private.first_damaged(p_steps ctx0_private.schema_step[])
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step ctx0_private.schema_step;
begin
  foreach v_step in array p_steps loop
    if not ctx0_private.is_intact(p_sql => v_step.sql, p_checksum => v_step.checksum)
       or not ctx0_private.is_intact(p_sql => v_step.down_sql, p_checksum => v_step.down_checksum)
       or not ctx0_private.is_of_text(p_outside => v_step.outside, p_sql => v_step.sql)
       or not ctx0_private.is_of_text(p_outside => v_step.down_outside, p_sql => v_step.down_sql) then
      return jsonb_build_object(
        'outcome', 'conflict', 'reason', 'damaged', 'version', v_step.version, 'attempt', v_step.attempt,
        'message', 'the SQL that arrived is not the SQL of its checksum');
    end if;
  end loop;
  return null;
end
$$;

comment on function ctx0_private.first_damaged(ctx0_private.schema_step[]) is
  'ctx0: the conflict of the first step that was damaged on the way';

-- check_steps(p_steps): raises 22023 where a step to apply lacks something.
create function ctx0_private.check_steps(p_steps ctx0_private.schema_step[])
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step ctx0_private.schema_step;
begin
  foreach v_step in array p_steps loop
    if v_step.version is null or v_step.version < 1 or coalesce(v_step.name, '') = ''
       or v_step.checksum is null or v_step.attempt is null
       or coalesce(cardinality(v_step.sql), 0) = 0 or array_position(v_step.sql, null) is not null
       or array_position(v_step.down_sql, null) is not null then
      raise invalid_parameter_value using
        message = 'to apply a version, ctx0 needs its version (from 1), name, sql, checksum and attempt';
    end if;
  end loop;
end
$$;

comment on function ctx0_private.check_steps(ctx0_private.schema_step[]) is
  'ctx0: refuses a step to apply that lacks something';
