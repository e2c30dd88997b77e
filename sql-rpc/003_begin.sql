-- Takes the lock of a change (045_lock_key.sql) until the end of the transaction: one installation
-- at a time, and none while the schema is being changed or rehearsed. Without it, two sessions read the
-- same list of functions, and the second one tries to drop what the first one has dropped.
--
-- The tables next, before any function or type is dropped: a request that has read a table may need a
-- type, and would wait for this script while this script waits for it. In the order in which requests read them.
do $$
declare
  v_table regclass;
begin
  perform pg_catalog.pg_advisory_xact_lock(1668577328, 1);
  foreach v_table in array array[
    pg_catalog.to_regclass('ctx0_private.ctx0_schema_outside'),
    pg_catalog.to_regclass('public.ctx0_schema_versions'),
    pg_catalog.to_regclass('ctx0_private.ctx0_schema_attempts'),
    pg_catalog.to_regclass('ctx0_private.ctx0_schema_cancellations')
  ] loop
    -- One that belongs to somebody else is refused later.
    if (select pg_catalog.pg_has_role(c.relowner, 'usage') from pg_catalog.pg_class c where c.oid = v_table) then
      execute pg_catalog.format('lock table %s in access exclusive mode', v_table);
    end if;
  end loop;
  perform pg_catalog.set_config('ctx0.script', 'has the lock', true);
end
$$;

-- Both end with the transaction. So if each statement were one by itself, nothing would be locked,
-- and a failure would leave half of the functions.
do $$
begin
  if pg_catalog.current_setting('ctx0.script') <> 'has the lock' then
    raise invalid_transaction_state using
      message = 'this script must run in one transaction, so nothing was changed',
      hint = 'In the SQL editor run the whole script at once. With psql add the option -1.';
  end if;
end
$$;
