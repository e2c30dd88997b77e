-- ctx0_upgrade(p_sql, p_checksum): replaces the installed functions by those of a newer release, so
-- that only the first release needs another way in.
--
-- Arguments
--   p_sql       the text of install_sql()
--   p_checksum  SHA-256 (hex) of it in UTF-8
--
-- Result: jsonb with "outcome" and "rpc_version", and
--   upgraded
--   locked    + held_by: change | rehearsal, position; nothing was done
--   conflict  + reason: damaged, + message; nothing was done
--   failed    + sqlstate, message, hint; nothing was changed
-- Errors: 42501 for anyone but the service role and the owner.
-- Who may call it: service_role.
--
-- Failures are data because PostgREST repeats a request that ends in 40001 or 40P01 by itself, without
-- limit. A repeated request does no harm: the script can be run any number of times.
create function public.ctx0_upgrade(
  p_sql      text,
  p_checksum text
)
returns ctx0_private.answer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
set statement_timeout = '25s'
set default_transaction_isolation = 'read committed'
as $$
declare
  -- Made beforehand: the script drops this function too, and may bring another answer().
  v_upgraded constant ctx0_private.answer := ctx0_private.answer(p_fields => jsonb_build_object('outcome', 'upgraded'));
  v_state    text;
  v_message  text;
  v_hint     text;
begin
  perform ctx0_private.check_caller();

  if not ctx0_private.is_intact(p_sql => array[p_sql], p_checksum => p_checksum) then
    return ctx0_private.answer(p_fields => jsonb_build_object(
      'outcome', 'conflict', 'reason', 'damaged', 'message', 'the SQL that arrived is not the SQL of its checksum'));
  end if;
  if not pg_try_advisory_xact_lock(ctx0_private.lock_key(), 1) then
    return ctx0_private.answer(p_fields => ctx0_private.locked());
  end if;

  begin
    execute p_sql;
  exception when query_canceled or assert_failure or others then
    get stacked diagnostics v_state = returned_sqlstate, v_message = message_text, v_hint = pg_exception_hint;
    return ctx0_private.answer(p_fields => jsonb_strip_nulls(jsonb_build_object(
      'outcome', 'failed', 'sqlstate', v_state, 'message', v_message, 'hint', nullif(v_hint, ''))));
  end;
  return v_upgraded;
end
$$;

comment on function public.ctx0_upgrade(text, text) is
  'ctx0: replaces the installed functions by those of a newer release';
