-- Refuses a task that is not in the trash below one that is (TD003), whichever of the two was written.
-- Fires after the statement, so that the order of its rows does not matter.
-- Task: T-342
CREATE OR REPLACE FUNCTION app.reject_live_under_trashed() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.trashed_at IS NULL AND NEW.parent_id IS NOT NULL AND EXISTS (
        SELECT FROM public.tasks WHERE user_id = NEW.user_id AND id = NEW.parent_id AND trashed_at IS NOT NULL
    ) OR NEW.trashed_at IS NOT NULL AND EXISTS (
        SELECT FROM public.tasks WHERE user_id = NEW.user_id AND parent_id = NEW.id AND trashed_at IS NULL
    ) THEN
        RAISE EXCEPTION 'a task outside the trash cannot be below one in the trash' USING ERRCODE = 'TD003';
    END IF;
    RETURN NULL;
END
$$;
