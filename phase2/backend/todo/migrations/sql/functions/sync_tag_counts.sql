-- Keeps tag_counts, the number of tasks per spelling of a tag, in step with the rows that a statement inserted into or
-- deleted from task_tags. Each counter is written once per statement. A spelling that no task has any more is deleted.
-- Task: T-375
-- Task: T-383
CREATE OR REPLACE FUNCTION app.sync_tag_counts() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.tag_counts AS c (user_id, tag_key, tag, tasks)
        SELECT user_id, tag_key, tag, count(*) FROM rows_after GROUP BY user_id, tag_key, tag
        ON CONFLICT (user_id, tag_key, tag) DO UPDATE SET tasks = c.tasks + excluded.tasks;
        RETURN NULL;
    END IF;
    -- As in sync_counts_and_tags_on_delete.sql: a cascade from "user" may run without privileges on our tables.
    IF coalesce(current_setting('app.user', true), '') = '' THEN
        IF NOT EXISTS (SELECT FROM public."user" WHERE id IN (SELECT user_id FROM rows_before)) THEN
            RETURN NULL;
        END IF;
    END IF;
    UPDATE public.tag_counts AS c SET tasks = c.tasks - removed.tasks
    FROM (
        SELECT user_id, tag_key, tag, count(*) AS tasks FROM rows_before GROUP BY user_id, tag_key, tag
    ) AS removed
    WHERE c.user_id = removed.user_id AND c.tag_key = removed.tag_key AND c.tag = removed.tag;
    DELETE FROM public.tag_counts AS c USING rows_before AS removed
    WHERE c.user_id = removed.user_id AND c.tag_key = removed.tag_key AND c.tag = removed.tag AND c.tasks = 0;
    RETURN NULL;
END
$$;
