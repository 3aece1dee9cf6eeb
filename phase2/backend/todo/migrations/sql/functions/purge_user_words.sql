-- Deletes the search index of a deleted user, whose revision counter is deleted with the user. task_words has no
-- foreign key to "user", because it would be checked at every word; the counter's row stands in for it. SECURITY
-- DEFINER and on behalf of that user, for the reasons given in purge_user_changes.sql. If only the counter was deleted,
-- the tasks are still there, and so their words stay.
CREATE OR REPLACE FUNCTION app.purge_user_words() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller CONSTANT text := current_setting('app.user', true);
BEGIN
    IF NOT EXISTS (SELECT FROM public."user" WHERE id = OLD.user_id) THEN
        PERFORM set_config('app.user', extract(epoch FROM now()) || ' ' || OLD.user_id, true);
        DELETE FROM public.task_words WHERE user_id = OLD.user_id;
        PERFORM set_config('app.user', caller, true);
    END IF;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION app.purge_user_words() FROM PUBLIC;
