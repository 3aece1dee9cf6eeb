"""Time zones in SQL: special cases, and agreement of PostgreSQL and Python."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from todo.kit.zones import canonical_zone, day_bounds, local, local_day, resolve


def is_canonical(name: str) -> bool:
    try:
        return canonical_zone(name) == name
    except ValueError:
        return False


ZONES = sorted(filter(is_canonical, available_timezones()))
FIRST, LAST = datetime(1970, 1, 3, tzinfo=UTC), datetime(2039, 12, 29, tzinfo=UTC)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)

thoroughly = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
instants = st.datetimes(
    FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None), timezones=st.just(UTC), allow_imaginary=False
)
# Times around an offset change, including the days before and after it.
about = st.timedeltas(timedelta(hours=-50), timedelta(hours=50))
# More than there are zones, and changes of a zone.
numbers = st.integers(0, 10_000)
day_starts = st.sampled_from([time(0), time(1, 30), time(2), time(3), time(12), time(23, 59)])


@pytest.fixture(scope="module")
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        yield connection


def changes_of(zone: str) -> list[datetime]:
    """Return the instants, to the second, of the offset changes. Two changes within a week may be missed."""
    info, week = ZoneInfo(zone), timedelta(days=7)
    changes = []
    before, offset = FIRST, FIRST.astimezone(info).utcoffset()
    while before < LAST:
        after = before + week
        if after.astimezone(info).utcoffset() != offset:
            early, late = before, after
            while late - early > timedelta(seconds=1):
                middle = early + timedelta(seconds=(late - early) // timedelta(seconds=2))
                early, late = (middle, late) if middle.astimezone(info).utcoffset() == offset else (early, middle)
            changes.append(late)
        before, offset = after, after.astimezone(info).utcoffset()
    return changes


@pytest.fixture(scope="module")
def agreed(connection: psycopg.Connection) -> dict[str, list[datetime]]:
    """The zones in which PostgreSQL and Python agree on local times, with their offset changes."""
    agreed = {}
    for zone in ZONES:
        changes = changes_of(zone)
        # PostgreSQL may know changes that Python does not, such as those of 1974 in Tijuana.
        between = (FIRST + timedelta(days=days) for days in range(0, (LAST - FIRST).days, 14))
        moments = [*between, *(change - timedelta(seconds=1) for change in changes), *changes, LAST]
        rows = connection.execute(
            "SELECT moment, moment AT TIME ZONE (':' || %s) FROM unnest(%s::timestamptz[]) AS moment",
            (zone, moments),
        )
        if all(local(moment, zone) == local_time for moment, local_time in rows):
            agreed[zone] = changes
    return agreed


def ask(connection: psycopg.Connection, function: str, *values: object) -> object:
    placeholders = ", ".join(["%s"] * len(values))
    [[answer]] = connection.execute(f"SELECT app.{function}({placeholders})".encode(), values)
    return answer


# Task: T-304
class TestResolveLocal:
    @pytest.mark.parametrize(
        ("zone", "local_time", "instant"),
        [
            ("America/New_York", "2026-03-08T09:00:00", "2026-03-08T13:00:00Z"),
            ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:30:00Z"),
            ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T22:00:00Z"),
            ("America/New_York", "2026-11-01T01:30:00", "2026-11-01T05:30:00Z"),
            ("America/New_York", "2026-11-01T02:00:00", "2026-11-01T07:00:00Z"),
            ("Australia/Lord_Howe", "2026-04-05T01:45:00", "2026-04-04T14:45:00Z"),
            ("Antarctica/Troll", "2026-10-25T01:30:00", "2026-10-24T23:30:00Z"),
            # Also an abbreviation, which PostgreSQL would read as UTC+1 all year.
            ("CET", "2026-07-01T12:00:00", "2026-07-01T10:00:00Z"),
        ],
    )
    def test_resolve_local_returns_the_instant_of_a_local_time(
        self, connection: psycopg.Connection, zone: str, local_time: str, instant: str
    ) -> None:
        resolved = ask(connection, "resolve_local", datetime.fromisoformat(local_time), zone)

        assert resolved == datetime.fromisoformat(instant)

    @pytest.mark.parametrize("zone", ["", "Mars/Olympus", "CEST", "FOO5", "+01:00", "../UTC", "localtime", ":UTC"])
    def test_resolve_local_rejects_an_unknown_zone(self, connection: psycopg.Connection, zone: str) -> None:
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            ask(connection, "resolve_local", datetime(2026, 3, 10), zone)  # noqa: DTZ001

    @pytest.mark.parametrize(
        "call",
        [
            "resolve_local('2026-03-10 09:00', 'Europe/Berlin')",
            "day_end('2026-03-10', 'Europe/Berlin', '03:00')",
            "local_day('2026-03-10 09:00Z', 'Europe/Berlin', '03:00')",
        ],
    )
    def test_zone_functions_work_for_the_application_with_any_search_path(
        self, connection: psycopg.Connection, call: str
    ) -> None:
        with connection.transaction(force_rollback=True):
            connection.execute(
                "CREATE SCHEMA other; CREATE FUNCTION other.timezone(text, timestamp)"
                " RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'"
            )
            connection.execute("GRANT USAGE ON SCHEMA other TO todo_app")
            connection.execute("SET LOCAL ROLE todo_app")
            plain = connection.execute(f"SELECT app.{call}".encode()).fetchall()
            connection.execute("SET LOCAL search_path = other, pg_catalog")

            assert connection.execute(f"SELECT app.{call}".encode()).fetchall() == plain


# Task: T-304
class TestDays:
    @pytest.mark.parametrize(
        ("day", "zone", "day_start", "end"),
        [
            ("2026-03-10", "UTC", "00:00", "2026-03-10T23:59:59.999999Z"),
            ("2026-03-10", "Asia/Tokyo", "03:00", "2026-03-10T17:59:59.999999Z"),
            ("2026-10-25", "Europe/Berlin", "00:00", "2026-10-25T22:59:59.999999Z"),
            ("2026-03-28", "Europe/Berlin", "02:30", "2026-03-29T01:29:59.999999Z"),
            # The day did not exist: it ends with the previous one.
            ("2011-12-30", "Pacific/Apia", "00:00", "2011-12-30T09:59:59.999999Z"),
        ],
    )
    def test_day_ends_a_microsecond_before_the_next_one(
        self, connection: psycopg.Connection, day: str, zone: str, day_start: str, end: str
    ) -> None:
        ended = ask(connection, "day_end", date.fromisoformat(day), zone, time.fromisoformat(day_start))

        assert ended == datetime.fromisoformat(end)

    @pytest.mark.parametrize(
        ("instant", "zone", "day_start", "day"),
        [
            ("2026-03-10T01:59:59Z", "UTC", "02:00", "2026-03-09"),
            ("2026-03-10T02:00:00Z", "UTC", "02:00", "2026-03-10"),
            ("2026-03-29T01:15:00Z", "Europe/Berlin", "02:30", "2026-03-28"),
            ("2026-10-25T01:15:00Z", "Europe/Berlin", "02:30", "2026-10-25"),
            ("2011-12-30T13:00:00Z", "Pacific/Apia", "05:00", "2011-12-29"),
        ],
    )
    def test_local_day_of_an_instant_depends_on_the_day_start(
        self, connection: psycopg.Connection, instant: str, zone: str, day_start: str, day: str
    ) -> None:
        found = ask(connection, "local_day", datetime.fromisoformat(instant), zone, time.fromisoformat(day_start))

        assert found == date.fromisoformat(day)


# Task: T-304
@pytest.mark.slow
class TestSqlAndPython:
    """SQL and Python are compared in the zones in which their databases, perhaps of different years, agree."""

    def test_databases_of_sql_and_python_agree_on_most_zones(self, agreed: dict[str, list[datetime]]) -> None:
        assert len(ZONES) > 400
        assert len(agreed) > 0.9 * len(ZONES)
        assert sum(map(len, agreed.values())) > 10_000

    def test_sql_and_python_resolve_times_around_every_change_alike(
        self, connection: psycopg.Connection, agreed: dict[str, list[datetime]]
    ) -> None:
        steps = [
            timedelta(minutes=minutes) for minutes in (-1441, -1440, -121, -60, -30, -1, 0, 1, 29, 30, 59, 60, 1440)
        ]
        different = []

        for zone, changes in agreed.items():
            local_time = {
                local(change + offset, zone) + step
                for change in changes
                for offset in (-SECOND, SECOND)
                for step in steps
            }
            rows = connection.execute(
                "SELECT local_time, app.resolve_local(local_time, %s) FROM unnest(%s::timestamp[]) AS local_time",
                (zone, list(local_time)),
            )
            different += [(zone, each) for each, resolved in rows if resolve(each, zone) != resolved]

        assert different == []

    @thoroughly
    @given(
        zone_number=numbers, change_number=numbers, offset=st.none() | about, anywhere=instants, day_start=day_starts
    )
    def test_sql_and_python_find_the_same_instants_and_days(
        self,
        connection: psycopg.Connection,
        agreed: dict[str, list[datetime]],
        zone_number: int,
        change_number: int,
        offset: timedelta | None,
        anywhere: datetime,
        day_start: time,
    ) -> None:
        zone = list(agreed)[zone_number % len(agreed)]
        changes = agreed[zone] or [FIRST]
        instant = anywhere if offset is None else changes[change_number % len(changes)] + offset
        local_time, day = local(instant, zone), local_day(instant, zone, day_start)
        start, end = day_bounds(day, zone, day_start)

        [found] = connection.execute(
            "SELECT app.resolve_local(%(local_time)s, %(zone)s), app.local_day(%(instant)s, %(zone)s, %(day_start)s),"
            " app.day_end(%(day)s - 1, %(zone)s, %(day_start)s), app.day_end(%(day)s, %(zone)s, %(day_start)s)",
            {"local_time": local_time, "zone": zone, "instant": instant, "day_start": day_start, "day": day},
        )

        assert found == (resolve(local_time, zone), day, start - MICROSECOND, end - MICROSECOND)
        assert start <= instant < end
