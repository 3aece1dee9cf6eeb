-- Writes what app.sync_task_tags() collected while the statement went through its rows.
-- Task: T-375
CREATE OR REPLACE FUNCTION app.write_deferred_tag_counts() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deltas CONSTANT text := nullif(nullif(current_setting('app.deferred_tag_counts', true), ''), '{}');
BEGIN
    IF deltas IS NOT NULL THEN
        PERFORM set_config('app.deferred_tag_counts', '', true);
        PERFORM app.add_to_tag_counts(deltas::jsonb);
    END IF;
    RETURN NULL;
END
$$;
