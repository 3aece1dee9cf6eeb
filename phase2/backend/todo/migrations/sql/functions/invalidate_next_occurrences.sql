-- Clears the precomputed occurrences of a series if an update changes a column that they depend on, but not the
-- occurrences themselves: they are outdated then, and the rule is evaluated again. If an update does set new ones, they
-- differ from the old ones, because the open occurrence is among them; if they do not differ, nothing is lost.
-- Task: T-327
CREATE OR REPLACE FUNCTION app.invalidate_next_occurrences() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.next_occurrences := NULL;
    RETURN NEW;
END
$$;
