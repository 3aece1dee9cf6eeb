-- Returns the user's day that an instant belongs to. The UTC offset may have changed since the day began, or may change
-- at the beginning of the next day. So the first guess is compared with both boundaries of the day.
-- Task: T-304
CREATE OR REPLACE FUNCTION app.local_day(instant timestamptz, zone text, day_start time) RETURNS date LANGUAGE plpgsql
    IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    day CONSTANT date := (instant AT TIME ZONE (':' || zone) - day_start::interval)::date;
BEGIN
    IF instant < app.resolve_local(day + day_start, zone) THEN
        RETURN day - 1;
    END IF;
    IF instant >= app.resolve_local(day + 1 + day_start, zone) THEN
        RETURN day + 1;
    END IF;
    RETURN day;
END
$$;
