-- Asks the functions of an earlier release, before they go, for their release and whether the
-- schema is as the last change left it. The answers are for 042_is_newer.sql and
-- 910_describe_again.sql.
do $$
declare
  v_release text;
begin
  execute 'select ctx0_private.answer(p_fields => ''{}'') ->> ''rpc_version''' into v_release;
  perform pg_catalog.set_config('ctx0.release', v_release, true);
exception when others then
  -- There is none, or it is of the time before this function.
  perform pg_catalog.set_config('ctx0.release', '', true);
end
$$;

do $$
declare
  v_unchanged boolean;
begin
  -- Release 2 compared fingerprints.
  execute 'select case when v ? ''format''
                       then v -> ''recorded'' -> ''format'' = v -> ''format'' and v -> ''objects'' = ''[]'' and v -> ''unknown'' = ''[]''
                       else v ->> ''fingerprint'' = v -> ''recorded'' ->> ''fingerprint'' end
             from (select public.ctx0_verify_schema()::jsonb) a (v)'
     into v_unchanged;
  perform pg_catalog.set_config('ctx0.is_unchanged', coalesce(v_unchanged, false)::text, true);
exception when others then
  -- There is no earlier release, or it cannot say.
  perform pg_catalog.set_config('ctx0.is_unchanged', 'false', true);
end
$$;
