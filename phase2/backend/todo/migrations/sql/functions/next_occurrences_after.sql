-- Returns the remaining precomputed occurrences of a series after the open one was completed at an instant, or NULL if
-- the rule must be evaluated again (in Python: todo/services/recurrence/series.py). The occurrences are an array, the
-- open one first: due date, start, number if the rule counts, and the zone if the dates depend on the user's zone. With
-- missed = 'skip', past occurrences are left out: occurrences with a time are compared as instants, those without a
-- time by the user's day.
-- Task: T-327
CREATE OR REPLACE FUNCTION app.next_occurrences_after(
    occurrences jsonb, missed text, completed_at timestamptz, task_zone text, owner text
) RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    remaining jsonb := occurrences - 0;
    due_text text := remaining -> 0 ->> 0;
    user_zone text;
    day_start time;
BEGIN
    IF missed = 'keep' AND remaining -> 0 ->> 3 IS NULL THEN
        RETURN nullif(remaining, '[]');
    END IF;
    SELECT p.time_zone, p.day_start INTO user_zone, day_start FROM public.profiles AS p WHERE p.user_id = owner;
    IF NOT FOUND THEN
        user_zone := 'UTC';
        day_start := '00:00';
    END IF;
    IF remaining -> 0 ->> 3 <> user_zone THEN
        RETURN NULL;
    END IF;
    WHILE missed = 'skip' AND CASE length(due_text)
        WHEN 10 THEN due_text::date <= app.local_day(completed_at, user_zone, day_start)
        ELSE app.resolve_time(due_text, task_zone, user_zone, day_start) <= completed_at
    END LOOP
        remaining := remaining - 0;
        due_text := remaining -> 0 ->> 0;
    END LOOP;
    RETURN nullif(remaining, '[]');
END
$$;
