-- Recomputes due_at and start_at of the user's open tasks that depend on the zone or on day_start, when one of these
-- changes. Closed tasks stay as they are until they are reopened. It sets due_at to another value only to make the
-- trigger call app.compute_due_and_start(), which computes both.
-- Task: T-311
CREATE OR REPLACE FUNCTION app.recompute_due_on_profile_change() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Without a caller, the profile is deleted because its user is deleted. The tasks are deleted, too.
    IF TG_OP = 'DELETE' AND coalesce(current_setting('app.user', true), '') = '' THEN
        RETURN NULL;
    END IF;
    UPDATE public.tasks SET due_at = 'infinity'
    WHERE user_id = coalesce(NEW.user_id, OLD.user_id) AND status IN ('pending', 'in_progress') AND (
        length(due_date) = 10 OR length(start_date) = 10
        OR due_time_zone IS NULL AND (right(due_date, 1) <> 'Z' OR right(start_date, 1) <> 'Z')
    );
    RETURN NULL;
END
$$;
