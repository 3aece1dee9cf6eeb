-- Counts the subtasks of the parents that app.defer_parent_counts() collected while the statement went through its
-- rows.
-- Task: T-342
-- Task: T-383
CREATE OR REPLACE FUNCTION app.write_deferred_parent_counts() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parents CONSTANT text := nullif(current_setting('app.deferred_parents', true), '');
BEGIN
    IF parents IS NOT NULL THEN
        PERFORM set_config('app.deferred_parents', '', true);
        PERFORM app.recount_parents(parents::jsonb);
    END IF;
    RETURN NULL;
END
$$;
