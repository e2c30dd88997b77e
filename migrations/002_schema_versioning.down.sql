-- Undoes version 2.
--
-- No data is lost. The ledger itself stays, with its rights and its other rows:
-- the installed ctx0 functions need it as well, a rollback is written to it,
-- and version 1 is still in force. Only the record of version 2 goes, which
-- makes it a version to be applied again.

delete from public.ctx0_schema_versions where version = 2;
