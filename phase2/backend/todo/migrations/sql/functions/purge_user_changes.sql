-- Deletes the change log of a user whose revision counter was deleted. The table changes has no foreign key to "user",
-- because it would be checked at every write. The counter's row has such a foreign key, so it is deleted with the user.
-- SECURITY DEFINER and on behalf of that user, because the role that deletes users may not be allowed to see the log,
-- and because the policy of changes also applies to its owner.
CREATE OR REPLACE FUNCTION app.purge_user_changes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller CONSTANT text := current_setting('app.user', true);
BEGIN
    PERFORM set_config('app.user', extract(epoch FROM now()) || ' ' || OLD.user_id, true);
    DELETE FROM public.changes WHERE user_id = OLD.user_id;
    PERFORM set_config('app.user', caller, true);
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION app.purge_user_changes() FROM PUBLIC;
