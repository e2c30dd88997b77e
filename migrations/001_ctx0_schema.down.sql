-- Undoes version 1.
--
-- DATA LOSS: deletes every session, every entry (with its embedding) and the
-- log of queries, for good. Take a backup first.
--
-- Extensions stay, since other tables may use them. An object of somebody else
-- that depends on these tables is not dropped along: it stops the rollback.

drop table if exists public.ctx0_queries, public.ctx0_entries, public.ctx0_sessions;

drop function if exists public.ctx0_set_updated_at();

-- Run by hand, nobody else takes the version off the ledger, if there is one.
do $$
begin
  if pg_catalog.to_regclass('public.ctx0_schema_versions') is not null then
    delete from public.ctx0_schema_versions where version = 1;
  end if;
end
$$;
