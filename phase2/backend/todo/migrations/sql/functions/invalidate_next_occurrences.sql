-- Clears the precomputed occurrences of a series if an update changes a column that they depend on and does not set new
-- occurrences. The rule is then evaluated again when it is needed. An update that sets new occurrences is recognized,
-- because they start with the open occurrence and so differ from the old ones. If they do not differ, clearing them
-- only costs one evaluation.
-- Task: T-327
CREATE OR REPLACE FUNCTION app.invalidate_next_occurrences() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.next_occurrences := NULL;
    RETURN NEW;
END
$$;
