-- check_caller(): raises 42501 unless the request comes from the service role, from the
-- owner of these functions or from a superuser. Every function in public calls it first.
--
-- The grants say the same, but `grant all on all routines in schema public to anon,
-- authenticated` is a common pasted snippet, so a grant alone is not enough. PostgREST
-- switches roles with `set local role`. That setting stays readable inside a security
-- definer function, where `current_user` is the owner.
create function ctx0_private.check_caller()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller constant text := coalesce(nullif(current_setting('role', true), 'none'), session_user);
begin
  if v_caller in ('service_role', current_user) then
    return;
  elsif exists (select from pg_roles where rolname = v_caller and rolsuper) then
    return;
  end if;
  raise insufficient_privilege using
    message = format('role %s may not change the ctx0 schema', quote_ident(v_caller)),
    hint = 'Use the service_role key or a secret key (sb_secret_...) of this project.';
end
$$;

comment on function ctx0_private.check_caller() is
  'ctx0: refuses everyone but the service role and the owner';
