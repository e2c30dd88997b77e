-- ctx0_catalog_writes(): how many rows of PostgreSQL's own catalog this transaction has written so
-- far. Where the number is the same before and after a statement, it has changed no definition.
-- Null where the server counts nothing.
--
-- Who may call it: only the functions of this folder.
create function public.ctx0_catalog_writes()
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform public.ctx0_check_caller();
  return (
    select sum(pg_stat_get_xact_tuples_inserted(c.oid) + pg_stat_get_xact_tuples_updated(c.oid)
               + pg_stat_get_xact_tuples_deleted(c.oid))
      from pg_class c
     where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind = 'r'
       and current_setting('track_counts')::boolean
  );
end
$$;

comment on function public.ctx0_catalog_writes() is
  'ctx0: how many rows of the catalog this transaction has written';
revoke all on function public.ctx0_catalog_writes() from public, anon, authenticated, service_role;
