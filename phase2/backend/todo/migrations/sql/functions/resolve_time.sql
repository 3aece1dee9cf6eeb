-- Returns the instant of a due date or a start, which is text in one of three forms. A date is due until the last
-- moment of that day of the user. A wall-clock time is in the task's zone if it has one, and in the user's zone
-- otherwise. An instant (it ends with Z) is itself.
-- Task: T-311
CREATE OR REPLACE FUNCTION app.resolve_time(time_text text, task_zone text, user_zone text, day_start time)
    RETURNS timestamptz LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF time_text IS NULL THEN
        RETURN NULL;
    ELSIF length(time_text) = 10 THEN
        RETURN app.day_end(time_text::date, user_zone, day_start);
    ELSIF right(time_text, 1) = 'Z' THEN
        RETURN time_text::timestamptz;
    END IF;
    RETURN app.resolve_local(time_text::timestamp, coalesce(task_zone, user_zone));
END
$$;
