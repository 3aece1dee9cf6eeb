-- Returns the instant of a wall-clock time in a zone, as todo/kit/zones.py does in Python; the tests compare the two. A
-- skipped time is moved forward; a time that occurs twice is the first of the two. Raises 22023 for an unknown zone.
-- PostgreSQL's own AT TIME ZONE moves a skipped time forward too, but takes the second of two. So this function finds
-- out whether the clocks went back within the 24 hours before. It assumes that no more than a day occurs twice, and
-- that no clock changes twice within a day. Immutable, as AT TIME ZONE is. The colon before the name restricts
-- PostgreSQL to the zone files. Without it, CET is an abbreviation with a fixed offset, wrong in summer, and FOO5 is a
-- valid zone.
-- Task: T-304
CREATE OR REPLACE FUNCTION app.resolve_local(local timestamp, zone text) RETURNS timestamptz LANGUAGE plpgsql
    IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    zone_file CONSTANT text := ':' || zone;
    a_day CONSTANT interval := '24 hours';
    usual CONSTANT timestamptz := local AT TIME ZONE zone_file;
    went_back CONSTANT interval := (usual - a_day) AT TIME ZONE zone_file - (local - a_day);
BEGIN
    IF went_back > '0' AND (usual - went_back) AT TIME ZONE zone_file = local THEN
        RETURN usual - went_back;
    END IF;
    RETURN usual;
END
$$;
