-- Computes due_at and start_at of a task, so that no writer can forget them. These instants depend on the columns that
-- clients send (due_date, start_date, due_time_zone) and on the user's zone and day_start. They are for sorting and
-- for filters such as due=today, and are not in the change log.
-- Task: T-311
CREATE OR REPLACE FUNCTION app.compute_due_and_start() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' AS $$
DECLARE
    user_zone text := 'UTC';
    day_start time := '00:00';
BEGIN
    SELECT p.time_zone, p.day_start INTO user_zone, day_start FROM public.profiles AS p WHERE p.user_id = NEW.user_id;
    IF NOT FOUND THEN
        user_zone := 'UTC';
        day_start := '00:00';
    END IF;
    NEW.due_at := app.resolve_time(NEW.due_date, NEW.due_time_zone, user_zone, day_start);
    NEW.start_at := app.resolve_time(NEW.start_date, NEW.due_time_zone, user_zone, day_start);
    RETURN NEW;
END
$$;
