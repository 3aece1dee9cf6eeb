-- Clears the precomputed occurrences of a series when something changes that they follow from and they stay the same.
-- The rule is evaluated again then. New ones differ from the old ones, because the open occurrence is among them; if
-- they do not differ, nothing is lost.
-- Task: T-327
CREATE OR REPLACE FUNCTION app.invalidate_next_occurrences() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.next_occurrences := NULL;
    RETURN NEW;
END
$$;
