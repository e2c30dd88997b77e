-- Leaves the functions of a newer release alone: the app that installed them needs them.
do $$
declare
  v_this      constant integer := (ctx0_private.answer(p_fields => '{}') ->> 'rpc_version')::integer;
  v_installed constant integer := nullif(pg_catalog.current_setting('ctx0.release'), '')::integer;
begin
  if v_installed > v_this then
    raise object_not_in_prerequisite_state using
      message = pg_catalog.format('the installed functions are of release %s, which is newer than release %s of this script, so nothing was changed', v_installed, v_this),
      hint = 'Update the app. To go back to its release, remove the installed functions with uninstall_sql() first.';
  end if;
end
$$;
