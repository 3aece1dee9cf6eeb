-- Counts the subtasks of parents. They are an object: the parent's id, and [user_id, updated_at of the subtask].
-- Task: T-383
CREATE OR REPLACE FUNCTION app.recount_parents(parents jsonb) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent uuid;
    child jsonb;
BEGIN
    FOR parent, child IN SELECT key, value FROM jsonb_each(parents) LOOP
        UPDATE public.tasks AS p
        SET (subtasks_total, subtasks_completed) = (
                SELECT count(*), count(*) FILTER (WHERE status = 'completed') FROM public.tasks AS subtask
                WHERE subtask.user_id = p.user_id AND subtask.parent_id = p.id AND subtask.trashed_at IS NULL
            ),
            updated_at = greatest(updated_at, (child ->> 1)::timestamptz)
        WHERE user_id = child ->> 0 AND id = parent;
    END LOOP;
END
$$;
