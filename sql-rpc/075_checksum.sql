-- checksum(p_sql): SHA-256 (hex) of a text in UTF-8, given as its statements.
create function ctx0_private.checksum(p_sql text[])
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return encode(sha256(convert_to(array_to_string(p_sql, ''), 'UTF8')), 'hex');
end
$$;

comment on function ctx0_private.checksum(text[]) is
  'ctx0: SHA-256 of a text';
