-- Returns a task's tags, or their keys, with one tag replaced, or removed if new_text is NULL. "texts" are the tags or
-- the keys; call it once for each. If the task has the new tag already, that one stays and the old one is removed.
-- Task: T-341
CREATE OR REPLACE FUNCTION app.replace_tag(texts jsonb, keys jsonb, old_key text, new_key text, new_text text)
    RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(
        CASE WHEN key = old_key THEN to_jsonb(new_text) ELSE texts -> (ordinal - 1)::integer END ORDER BY ordinal
    ), '[]')
    FROM jsonb_array_elements_text(keys) WITH ORDINALITY AS each (key, ordinal)
    WHERE key <> old_key OR new_text IS NOT NULL AND (new_key = old_key OR NOT keys ? new_key)
$$;
