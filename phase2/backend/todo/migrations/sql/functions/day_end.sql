-- Returns the last microsecond of a user's day, which lasts from day_start on its date to day_start on the next date.
-- Task: T-304
CREATE OR REPLACE FUNCTION app.day_end(day date, zone text, day_start time) RETURNS timestamptz LANGUAGE plpgsql
    IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN app.resolve_local(day + 1 + day_start, zone) - interval '1 microsecond';
END
$$;
