-- ctx0_is_intact(p_sql, p_checksum): whether a text, given in pieces, is that of its checksum
-- (SHA-256 in hex of the whole text in UTF-8). No text is intact without a checksum.
--
-- Who may call it: only the functions of this folder.
create function public.ctx0_is_intact(p_sql text[], p_checksum text)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.ctx0_check_caller();
  return p_sql is null
         or coalesce(encode(sha256(convert_to(array_to_string(p_sql, ''), 'UTF8')), 'hex') = lower(p_checksum), false);
end
$$;

comment on function public.ctx0_is_intact(text[], text) is
  'ctx0: whether a text is that of its checksum';
revoke all on function public.ctx0_is_intact(text[], text) from public, anon, authenticated, service_role;
