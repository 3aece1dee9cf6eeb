-- Keeps task_tags in step with the tags of a task: one row per tag, so that an index finds the tasks of a tag. Under a
-- policy, tags @> ... could not use an index. The task's row is the truth; tag_keys has the same order as tags. A task
-- in the trash has no rows here. Rows that stay the same are left alone. What was really deleted and inserted is
-- counted for tag_counts: at once for a new task, otherwise in a transaction-local setting, which
-- app.write_deferred_tag_counts() writes when the statement is done. See defer_task_counts.sql for why.
-- Task: T-341
-- Task: T-375
CREATE OR REPLACE FUNCTION app.sync_task_tags() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    max_deferred_characters CONSTANT integer := 4000;
    deltas jsonb := coalesce(nullif(current_setting('app.deferred_tag_counts', true), ''), '{}');
    counter text;
BEGIN
    -- As in defer_task_counts.sql: a cascade from "user" may run without privileges on our tables.
    IF TG_OP = 'DELETE' AND coalesce(current_setting('app.user', true), '') = '' THEN
        IF NOT EXISTS (SELECT FROM public."user" WHERE id = OLD.user_id) THEN
            RETURN NULL;
        END IF;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        FOR counter IN
            DELETE FROM public.task_tags AS t
            WHERE t.user_id = OLD.user_id AND t.task_id = OLD.id
                AND t.tag_key IN (SELECT jsonb_array_elements_text(OLD.tag_keys))
                AND NOT EXISTS (
                    SELECT FROM jsonb_array_elements_text(NEW.tag_keys) WITH ORDINALITY AS keys
                    WHERE NEW.trashed_at IS NULL AND keys.value = t.tag_key
                        AND NEW.tags ->> (keys.ordinality - 1)::integer = t.tag
                )
            RETURNING jsonb_build_array(t.user_id, t.tag_key, t.tag)
        LOOP
            deltas := deltas || jsonb_build_object(counter, coalesce((deltas ->> counter)::bigint, 0) - 1);
        END LOOP;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        FOR counter IN
            INSERT INTO public.task_tags AS t (user_id, tag_key, task_id, tag, created_at)
            SELECT NEW.user_id, keys.value, NEW.id, NEW.tags ->> (keys.ordinality - 1)::integer, NEW.created_at
            FROM jsonb_array_elements_text(NEW.tag_keys) WITH ORDINALITY AS keys
            WHERE NEW.trashed_at IS NULL
            ON CONFLICT (user_id, tag_key, task_id) DO NOTHING
            RETURNING jsonb_build_array(t.user_id, t.tag_key, t.tag)
        LOOP
            deltas := deltas || jsonb_build_object(counter, coalesce((deltas ->> counter)::bigint, 0) + 1);
        END LOOP;
    END IF;
    IF TG_OP = 'INSERT' OR length(deltas::text) > max_deferred_characters THEN
        PERFORM app.add_to_tag_counts(deltas);
        deltas := '{}';
    END IF;
    PERFORM set_config('app.deferred_tag_counts', deltas::text, true);
    RETURN NULL;
END
$$;
