-- Adds the old and the new parent of an updated task to a transaction-local setting; app.write_deferred_parent_counts()
-- counts their subtasks again when the statement is done. So a statement that updates many subtasks changes each parent
-- once, with one revision. If the setting grows beyond max_deferred_characters, the parents so far are counted early. A
-- parent that is counted again later does not change, and gets no second revision.
-- Task: T-342
-- Task: T-383
CREATE OR REPLACE FUNCTION app.defer_parent_counts() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    max_deferred_characters CONSTANT integer := 4000;
    parents jsonb := coalesce(nullif(current_setting('app.deferred_parents', true), ''), '{}');
    parent uuid;
BEGIN
    FOREACH parent IN ARRAY array_remove(ARRAY[OLD.parent_id, NEW.parent_id], NULL) LOOP
        parents := parents || jsonb_build_object(parent, jsonb_build_array(NEW.user_id, NEW.updated_at));
    END LOOP;
    IF length(parents::text) > max_deferred_characters THEN
        PERFORM set_config('app.deferred_parents', '', true);
        PERFORM app.recount_parents(parents);
    ELSE
        PERFORM set_config('app.deferred_parents', parents::text, true);
    END IF;
    RETURN NULL;
END
$$;
