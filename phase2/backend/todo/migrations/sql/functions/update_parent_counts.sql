-- Counts a new or deleted subtask in its parent: subtasks_total and subtasks_completed. Tasks in the trash do not
-- count. The update gives the parent a revision of its own, so that clients with a copy of the parent learn of it.
-- Task: T-342
CREATE OR REPLACE FUNCTION app.update_parent_counts() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    child CONSTANT public.tasks := CASE TG_OP WHEN 'INSERT' THEN NEW ELSE OLD END;
    delta CONSTANT integer := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
    -- As in sync_counts_and_tags_on_delete.sql: a cascade from "user" may run without privileges on our tables.
    IF TG_OP = 'DELETE' AND coalesce(current_setting('app.user', true), '') = '' THEN
        IF NOT EXISTS (SELECT FROM public."user" WHERE id = OLD.user_id) THEN
            RETURN NULL;
        END IF;
    END IF;
    UPDATE public.tasks
    SET subtasks_total = subtasks_total + delta,
        subtasks_completed = subtasks_completed + delta * (child.status = 'completed')::integer,
        updated_at = greatest(updated_at, CASE TG_OP WHEN 'INSERT' THEN child.updated_at ELSE now() END)
    WHERE user_id = child.user_id AND id = child.parent_id;
    RETURN NULL;
END
$$;
