-- Writes what app.defer_task_counts() collected while the statement went through its rows.
-- Task: T-383
CREATE OR REPLACE FUNCTION app.write_deferred_task_counts() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deltas CONSTANT text := nullif(current_setting('app.deferred_task_counts', true), '');
BEGIN
    IF deltas IS NOT NULL THEN
        PERFORM set_config('app.deferred_task_counts', '', true);
        PERFORM app.add_to_task_counts(deltas::jsonb);
    END IF;
    RETURN NULL;
END
$$;
