-- Serialises the writers of one user until the end of the transaction. Taken before any row lock: if each writer locked
-- its rows first and the revision counter afterwards, two of them could deadlock.
-- A writer without a caller (plain SQL of an administrator) takes no lock here and waits at the counter instead.
-- Task: T-111
CREATE OR REPLACE FUNCTION app.lock_user_writes() RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(app.uid(), 1));
END
$$;
