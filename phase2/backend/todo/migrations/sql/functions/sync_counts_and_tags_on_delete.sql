-- Takes deleted tasks out of task_counts and task_tags, once per statement: see sync_counts_and_tags_on_update.sql.
-- Task: T-210
-- Task: T-341
-- Task: T-383
CREATE OR REPLACE FUNCTION app.sync_counts_and_tags_on_delete() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    no_category CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    counter record;
    has_tags boolean := false;
BEGIN
    -- Before PostgreSQL 18 a cascade from "user" runs as the role that deletes the user. It has no caller and may have
    -- no privileges on our tables. Counters and tags are deleted by foreign keys of their own then.
    IF coalesce(current_setting('app.user', true), '') = '' THEN
        IF NOT EXISTS (SELECT FROM public."user" WHERE id IN (SELECT user_id FROM rows_before)) THEN
            RETURN NULL;
        END IF;
    END IF;
    FOR counter IN
        SELECT user_id, coalesce(category_id, no_category) AS category_id, status, priority, count(*) AS tasks,
            bool_or(tags <> '[]') AS has_tags
        FROM rows_before WHERE trashed_at IS NULL GROUP BY 1, 2, 3, 4
    LOOP
        UPDATE public.task_counts SET tasks = tasks - counter.tasks
        WHERE user_id = counter.user_id AND category_id = counter.category_id AND status = counter.status
            AND priority = counter.priority;
        has_tags := has_tags OR counter.has_tags;
    END LOOP;
    IF has_tags THEN
        DELETE FROM public.task_tags AS t USING rows_before AS task, jsonb_array_elements_text(tag_keys) AS key
        WHERE t.user_id = task.user_id AND t.tag_key = key AND t.task_id = task.id;
    END IF;
    RETURN NULL;
END
$$;
