-- Returns the words of each text of a JSON array. The bar between two texts keeps a phrase from matching across them.
-- Task: T-361
CREATE OR REPLACE FUNCTION app.normalize_array_for_search(originals jsonb) RETURNS text LANGUAGE sql
    IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(app.normalize_for_search(original), '|') FROM jsonb_array_elements_text(originals) AS original
$$;
