-- Inserts a completed copy of the open occurrence of a series, whose row the caller has locked, and returns the copy's
-- id. A function, so that the statement that completes a task pays for the INSERT only if the task recurs. A new column
-- of tasks that a completed occurrence keeps is added here.
-- Task: T-327
CREATE OR REPLACE FUNCTION app.insert_completed_copy(
    owner text, task uuid, new_id uuid, completed timestamptz, written timestamptz
) RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.tasks (
        user_id, id, title, description, priority, due_date, due_time_zone, start_date, category_id, tags, tag_keys,
        series_id, created_at, creation_digest, status, completed_at, updated_at, revision
    ) SELECT user_id, new_id, title, description, priority, due_date, due_time_zone, start_date, category_id, tags,
             tag_keys, series_id, created_at, creation_digest, 'completed', completed, written, 0
      FROM public.tasks WHERE user_id = owner AND id = task;
    RETURN new_id;
END
$$;
