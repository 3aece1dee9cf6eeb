-- Keeps task_words in step with title, tags and description of a task: one row per word, with the least weight of the
-- places where it occurs: 1 in the title, 2 in a tag, 3 in the description. A word longer than 64 characters is cut
-- off. An update touches only the rows that change.
-- Task: T-361
CREATE OR REPLACE FUNCTION app.sync_task_words() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    max_word_characters CONSTANT integer := 64;
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.task_words (user_id, task_id, word, weight, created_at)
        SELECT NEW.user_id, NEW.id, word, weight, NEW.created_at FROM (
            SELECT left(word, max_word_characters) AS word, min(weight) AS weight FROM (
                SELECT string_to_table(app.normalize_for_search(NEW.title), ' ') AS word, 1::smallint AS weight
                UNION ALL
                SELECT string_to_table(app.normalize_for_search(
                    (SELECT string_agg(tag, ',') FROM jsonb_array_elements_text(NEW.tags) AS tag)
                ), ' ') AS word, 2::smallint AS weight
                UNION ALL
                SELECT string_to_table(app.normalize_for_search(NEW.description), ' ') AS word, 3::smallint AS weight
            ) AS parts WHERE word <> '' GROUP BY 1
        ) AS words;
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' THEN
        -- As in sync_counts_and_tags_on_delete.sql: a cascade from "user" may run without privileges on our tables. The
        -- words of a user who is gone are deleted by app.purge_user_words().
        IF coalesce(current_setting('app.user', true), '') = '' THEN
            IF NOT EXISTS (SELECT FROM public."user" WHERE id = OLD.user_id) THEN
                RETURN NULL;
            END IF;
        END IF;
        DELETE FROM public.task_words WHERE user_id = OLD.user_id AND task_id = OLD.id;
        RETURN NULL;
    END IF;
    WITH words AS MATERIALIZED (
        SELECT left(word, max_word_characters) AS word, min(weight) AS weight FROM (
            SELECT string_to_table(app.normalize_for_search(NEW.title), ' ') AS word, 1::smallint AS weight
            UNION ALL
            SELECT string_to_table(app.normalize_for_search(
                (SELECT string_agg(tag, ',') FROM jsonb_array_elements_text(NEW.tags) AS tag)
            ), ' ') AS word, 2::smallint AS weight
            UNION ALL
            SELECT string_to_table(app.normalize_for_search(NEW.description), ' ') AS word, 3::smallint AS weight
        ) AS parts WHERE word <> '' GROUP BY 1
    ), deleted AS (
        DELETE FROM public.task_words WHERE user_id = OLD.user_id AND task_id = OLD.id
        AND (NEW.user_id <> OLD.user_id OR NEW.id <> OLD.id OR word NOT IN (SELECT word FROM words))
    )
    INSERT INTO public.task_words (user_id, task_id, word, weight, created_at)
    SELECT NEW.user_id, NEW.id, word, weight, NEW.created_at FROM words WHERE NOT EXISTS (
        SELECT FROM public.task_words AS kept WHERE user_id = NEW.user_id AND task_id = NEW.id
        AND kept.word = words.word AND kept.weight = words.weight AND created_at = NEW.created_at
    )
    ON CONFLICT (user_id, task_id, word) DO UPDATE SET weight = excluded.weight, created_at = excluded.created_at;
    RETURN NULL;
END
$$;
