-- Returns the instant of a wall-clock time in a zone, as todo/kit/zones.py does in Python; the tests compare the two. A
-- skipped time is moved forward, and of a time that occurs twice the first is taken. Raises 22023 for an unknown zone.
-- PostgreSQL's own AT TIME ZONE moves a skipped time forward too, but takes the second of two. It would be the first if
-- the clocks had not gone back since the day before. So no more than a day may occur twice, and no clock may change
-- twice within a day. Immutable, as AT TIME ZONE is. The colon before the name makes PostgreSQL look among the zone
-- files only. Without it CET is an abbreviation, an hour off all summer, and FOO5 is a zone that it makes up.
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
