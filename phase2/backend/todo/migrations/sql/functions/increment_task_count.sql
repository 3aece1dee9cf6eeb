-- Counts a new task in task_counts at once. The trash is not counted.
-- A writer holds the lock of its user before it touches a counter, so two writers of one user never meet here.
-- The zero UUID stands for "no category", because a key cannot be null.
-- Task: T-210
CREATE OR REPLACE FUNCTION app.increment_task_count() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    no_category CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    IF NEW.trashed_at IS NULL THEN
        UPDATE public.task_counts SET tasks = tasks + 1
        WHERE user_id = NEW.user_id AND category_id = coalesce(NEW.category_id, no_category)
            AND status = NEW.status AND priority = NEW.priority;
        IF NOT FOUND THEN
            INSERT INTO public.task_counts AS c (user_id, category_id, status, priority, tasks)
            VALUES (NEW.user_id, coalesce(NEW.category_id, no_category), NEW.status, NEW.priority, 1)
            ON CONFLICT (user_id, category_id, status, priority) DO UPDATE SET tasks = c.tasks + 1;
        END IF;
    END IF;
    RETURN NULL;
END
$$;
