"""Zones: local time to instants and back, and the user's day."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from todo.kit.zones import canonical_zone, day_bounds, local, local_day, resolve

MIDNIGHT = time(0)


def at(text: str) -> datetime:
    """Read an instant, or a local time if it has no Z."""
    return datetime.fromisoformat(text)


# Task: T-303
class TestCanonicalZone:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("Europe/Berlin", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("AMERICA/PORT-AU-PRINCE", "America/Port-au-Prince"),
            ("utc", "UTC"),
            ("etc/gmt+5", "Etc/GMT+5"),
            # Another name of a zone is a name.
            ("US/Pacific", "US/Pacific"),
        ],
    )
    def test_writes_it_as_iana_does(self, text: str, name: str) -> None:
        assert canonical_zone(text) == canonical_zone(name) == name

    @pytest.mark.parametrize(
        "text", ["", " ", "Mars/Olympus", "Europe", "UTC+1", "+01:00", "localtime", "posixrules", "Factory", "../UTC"]
    )
    def test_refuses_what_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"^Expected the IANA name of a time zone"):
            canonical_zone(text)


# Task: T-303
class TestLocal:
    @pytest.mark.parametrize(
        ("instant", "zone", "shown"),
        [
            ("2026-03-10T12:00:00Z", "America/New_York", "2026-03-10T08:00:00"),
            ("2026-03-10T12:00:00.123456Z", "Asia/Kathmandu", "2026-03-10T17:45:00.123456"),
            ("2011-12-30T09:59:59Z", "Pacific/Apia", "2011-12-29T23:59:59"),
            ("2011-12-30T10:00:00Z", "Pacific/Apia", "2011-12-31T00:00:00"),
        ],
    )
    def test_is_what_the_clocks_show(self, instant: str, zone: str, shown: str) -> None:
        assert local(at(instant), zone) == at(shown)

    def test_forgets_which_of_two_it_was(self) -> None:
        second = local(at("2026-10-25T01:30:00Z"), "Europe/Berlin")

        assert (second, second.fold) == (at("2026-10-25T02:30:00"), 0)


# Task: T-303
class TestResolve:
    @pytest.mark.parametrize(
        ("zone", "shown", "instant"),
        [
            ("America/New_York", "2026-03-07T09:00:00", "2026-03-07T14:00:00Z"),
            ("America/New_York", "2026-03-08T09:00:00", "2026-03-08T13:00:00Z"),
            # Skipped: forward by the gap, of an hour, of half of one, of two, of a day.
            ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:30:00Z"),
            ("Australia/Lord_Howe", "2026-10-04T02:15:00", "2026-10-03T15:45:00Z"),
            ("Antarctica/Troll", "2026-03-29T01:30:00", "2026-03-29T01:30:00Z"),
            ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T22:00:00Z"),
            # Twice: the first time.
            ("America/New_York", "2026-11-01T01:30:00", "2026-11-01T05:30:00Z"),
            ("Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
            ("Australia/Lord_Howe", "2026-04-05T01:45:00", "2026-04-04T14:45:00Z"),
            ("Antarctica/Troll", "2026-10-25T01:30:00", "2026-10-24T23:30:00Z"),
        ],
    )
    def test_is_the_instant_that_is_meant(self, zone: str, shown: str, instant: str) -> None:
        resolved = resolve(at(shown), zone)

        assert (resolved, resolved.tzinfo) == (at(instant), UTC)
        # Whichever of the two a caller had.
        assert resolve(at(shown).replace(fold=1), zone) == resolved

    @pytest.mark.parametrize(
        ("zone", "shown"), [("Asia/Tokyo", "0001-01-01T00:00:00"), ("America/New_York", "9999-12-31T23:59:59")]
    )
    def test_refuses_what_utc_has_no_year_for(self, zone: str, shown: str) -> None:
        with pytest.raises(OverflowError):
            resolve(at(shown), zone)


# Task: T-303
class TestDay:
    @pytest.mark.parametrize(
        ("zone", "day_start", "day", "start", "end"),
        [
            ("UTC", "00:00", "2026-03-10", "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z"),
            ("Asia/Tokyo", "03:00", "2026-03-10", "2026-03-09T18:00:00Z", "2026-03-10T18:00:00Z"),
            # 23 hours, and 25.
            ("Europe/Berlin", "00:00", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("Europe/Berlin", "00:00", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            # It begins in what was skipped, and in what came twice.
            ("Europe/Berlin", "02:30", "2026-03-29", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"),
            ("Europe/Berlin", "02:30", "2026-10-25", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
            # Midnight itself was skipped; and the whole day was.
            ("Asia/Beirut", "00:00", "2026-03-29", "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"),
            ("Pacific/Apia", "00:00", "2011-12-30", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z"),
        ],
    )
    def test_has_bounds(self, zone: str, day_start: str, day: str, start: str, end: str) -> None:
        bounds = day_bounds(date.fromisoformat(day), zone, time.fromisoformat(day_start))

        assert bounds == (at(start), at(end))

    @pytest.mark.parametrize(
        ("instant", "zone", "day_start", "day"),
        [
            ("2026-03-10T23:59:59.999999Z", "UTC", "00:00", "2026-03-10"),
            ("2026-03-10T01:59:59Z", "UTC", "02:00", "2026-03-09"),
            ("2026-03-10T02:00:00Z", "UTC", "02:00", "2026-03-10"),
            ("2026-03-10T09:00:00Z", "Pacific/Kiritimati", "00:00", "2026-03-10"),
            ("2026-03-10T10:00:00Z", "Pacific/Kiritimati", "00:00", "2026-03-11"),
            ("2026-03-10T10:00:00Z", "Pacific/Honolulu", "00:00", "2026-03-10"),
            # 03:15, when the day has not begun: 02:30 moved to 03:30.
            ("2026-03-29T01:15:00Z", "Europe/Berlin", "02:30", "2026-03-28"),
            # 02:15 for the second time, when it has begun at 02:30.
            ("2026-10-25T01:15:00Z", "Europe/Berlin", "02:30", "2026-10-25"),
            # The 31st at three: the night belongs to the day before, which was the 29th.
            ("2011-12-30T13:00:00Z", "Pacific/Apia", "05:00", "2011-12-29"),
        ],
    )
    def test_is_that_of_an_instant(self, instant: str, zone: str, day_start: str, day: str) -> None:
        assert local_day(at(instant), zone, time.fromisoformat(day_start)) == date.fromisoformat(day)

    def test_of_one_year_follow_each_other(self) -> None:
        days = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]

        bounds = [day_bounds(day, "Australia/Lord_Howe", MIDNIGHT) for day in days]

        assert [end for _, end in bounds[:-1]] == [start for start, _ in bounds[1:]]
        assert [local_day(start, "Australia/Lord_Howe", MIDNIGHT) for start, _ in bounds] == days
