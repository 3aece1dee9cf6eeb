-- Takes the lock of app.lock_user_writes() before a statement touches its first row.
-- Task: T-111
CREATE OR REPLACE FUNCTION app.lock_user_writes_trigger() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.lock_user_writes();
    RETURN NULL;
END
$$;
