"""Local time, as the database resolves it: the functions that the triggers and the queries of due dates stand on.

``todo.kit.zones`` says the same in Python, and the tests hold the two together.
"""

from alembic import op

# A colon before the name has PostgreSQL look among the zone files only. Without it CET is an abbreviation, an hour off
# all summer, and FOO5 a zone of its own making.
#
# Immutable, as PostgreSQL's own AT TIME ZONE is. That one moves a skipped time forward, as wanted, and takes the second
# of two: it would be the first if the clocks had not gone back since the day before. So no more than a day may come
# twice, and no clock may change twice within one.
_RESOLVE_LOCAL = """
CREATE FUNCTION app.resolve_local(local timestamp, zone text) RETURNS timestamptz LANGUAGE plpgsql
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
"""

# A day belongs to the user: from ``day_start`` on its date to ``day_start`` on the next.
_DAY_END = """
CREATE FUNCTION app.day_end(day date, zone text, day_start time) RETURNS timestamptz LANGUAGE plpgsql
    IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN app.resolve_local(day + 1 + day_start, zone) - interval '1 microsecond';
END
$$;
"""

# The clock may have changed since the day began, or gone back behind the beginning of the next.
_LOCAL_DAY = """
CREATE FUNCTION app.local_day(instant timestamptz, zone text, day_start time) RETURNS date LANGUAGE plpgsql
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
"""


# Task: T-304
def make_zones() -> None:
    """Make the functions. Each raises 22023 (invalid_parameter_value) for a zone that is not in the zone database."""
    for function in (_RESOLVE_LOCAL, _DAY_END, _LOCAL_DAY):
        op.execute(function)


def drop_zones() -> None:
    """Undo ``make_zones``."""
    for function in (
        "local_day(timestamptz, text, time)",
        "day_end(date, text, time)",
        "resolve_local(timestamp, text)",
    ):
        op.execute(f"DROP FUNCTION app.{function}")
