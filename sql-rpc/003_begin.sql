-- Takes the lock of a change (045_lock_key.sql) until the end of the transaction: one installation
-- at a time, and none while the schema is being changed or rehearsed. Without it, two sessions read the
-- same list of functions, and the second one tries to drop what the first one has dropped.
do $$
begin
  perform pg_catalog.pg_advisory_xact_lock(1668577328, 1);
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
