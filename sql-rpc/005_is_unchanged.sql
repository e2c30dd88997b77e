-- Asks the functions of an earlier release, before they go, whether the schema is as the
-- last change left it. The answer decides what 910_describe_again.sql does.
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
  perform pg_catalog.set_config('ctx0.is_unchanged', coalesce(v_unchanged, false)::text, false);
exception when others then
  -- There is no earlier release, or it cannot say.
  perform pg_catalog.set_config('ctx0.is_unchanged', 'false', false);
end
$$;
