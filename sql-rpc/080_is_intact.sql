-- is_intact(p_sql, p_checksum): whether a text, given as its statements, has this checksum
-- (SHA-256 in hex of the whole text in UTF-8). A text without a checksum is not intact; a missing
-- text is.
create function ctx0_private.is_intact(p_sql text[], p_checksum text)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_sql is null or coalesce(ctx0_private.checksum(p_sql) = lower(p_checksum), false);
end
$$;

comment on function ctx0_private.is_intact(text[], text) is
  'ctx0: whether a text has this checksum';
