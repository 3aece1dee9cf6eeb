-- Inserts the tags of a new task into task_tags: see sync_counts_and_tags_on_update.sql.
-- Task: T-341
CREATE OR REPLACE FUNCTION app.insert_task_tags() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.task_tags (user_id, task_id, tag_key, tag, created_at)
    SELECT NEW.user_id, NEW.id, key.value, NEW.tags ->> (key.ordinality - 1)::integer, NEW.created_at
    FROM jsonb_array_elements_text(NEW.tag_keys) WITH ORDINALITY AS key
    WHERE NEW.trashed_at IS NULL
    ON CONFLICT (user_id, tag_key, task_id) DO NOTHING;
    RETURN NULL;
END
$$;
