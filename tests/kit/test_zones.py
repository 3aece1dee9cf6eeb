"""Time zones: wall-clock times to instants and back, and the bounds of the user's day."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from todo.kit.zones import canonical_zone, day_bounds, local, local_day, resolve

MIDNIGHT = time(0)


def at(text: str) -> datetime:
    """Parse an instant, or a wall-clock time if the text has no Z."""
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
            # Aliases are kept.
            ("US/Pacific", "US/Pacific"),
        ],
    )
    def test_zone_names_are_spelled_as_in_the_iana_database(self, text: str, name: str) -> None:
        assert canonical_zone(text) == canonical_zone(name) == name

    @pytest.mark.parametrize(
        "text", ["", " ", "Mars/Olympus", "Europe", "UTC+1", "+01:00", "localtime", "posixrules", "Factory", "../UTC"]
    )
    def test_unknown_zone_names_are_rejected(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"^Expected the IANA name of a time zone"):
            canonical_zone(text)


# Task: T-303
class TestLocalTime:
    @pytest.mark.parametrize(
        ("instant", "zone", "shown"),
        [
            ("2026-03-10T12:00:00Z", "America/New_York", "2026-03-10T08:00:00"),
            ("2026-03-10T12:00:00.123456Z", "Asia/Kathmandu", "2026-03-10T17:45:00.123456"),
            ("2011-12-30T09:59:59Z", "Pacific/Apia", "2011-12-29T23:59:59"),
            ("2011-12-30T10:00:00Z", "Pacific/Apia", "2011-12-31T00:00:00"),
        ],
    )
    def test_local_time_is_the_wall_clock_time_in_the_zone(self, instant: str, zone: str, shown: str) -> None:
        assert local(at(instant), zone) == at(shown)

    def test_local_time_of_a_repeated_hour_has_fold_zero(self) -> None:
        second = local(at("2026-10-25T01:30:00Z"), "Europe/Berlin")

        assert (second, second.fold) == (at("2026-10-25T02:30:00"), 0)


# Task: T-303
class TestResolve:
    @pytest.mark.parametrize(
        ("zone", "shown", "instant"),
        [
            ("America/New_York", "2026-03-07T09:00:00", "2026-03-07T14:00:00Z"),
            ("America/New_York", "2026-03-08T09:00:00", "2026-03-08T13:00:00Z"),
            # Skipped times move forward by the gap: one hour, half an hour, two hours, one day.
            ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:30:00Z"),
            ("Australia/Lord_Howe", "2026-10-04T02:15:00", "2026-10-03T15:45:00Z"),
            ("Antarctica/Troll", "2026-03-29T01:30:00", "2026-03-29T01:30:00Z"),
            ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T22:00:00Z"),
            # Repeated times resolve to the first.
            ("America/New_York", "2026-11-01T01:30:00", "2026-11-01T05:30:00Z"),
            ("Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
            ("Australia/Lord_Howe", "2026-04-05T01:45:00", "2026-04-04T14:45:00Z"),
            ("Antarctica/Troll", "2026-10-25T01:30:00", "2026-10-24T23:30:00Z"),
        ],
    )
    def test_wall_clock_time_resolves_to_one_instant_in_skipped_and_repeated_hours(
        self, zone: str, shown: str, instant: str
    ) -> None:
        resolved = resolve(at(shown), zone)

        assert (resolved, resolved.tzinfo) == (at(instant), UTC)
        # The caller's fold is ignored.
        assert resolve(at(shown).replace(fold=1), zone) == resolved

    @pytest.mark.parametrize(
        ("zone", "shown"), [("Asia/Tokyo", "0001-01-01T00:00:00"), ("America/New_York", "9999-12-31T23:59:59")]
    )
    def test_wall_clock_time_outside_the_years_of_utc_raises_overflow_error(self, zone: str, shown: str) -> None:
        with pytest.raises(OverflowError):
            resolve(at(shown), zone)


# Task: T-303
class TestUserDay:
    @pytest.mark.parametrize(
        ("zone", "day_start", "day", "start", "end"),
        [
            ("UTC", "00:00", "2026-03-10", "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z"),
            ("Asia/Tokyo", "03:00", "2026-03-10", "2026-03-09T18:00:00Z", "2026-03-10T18:00:00Z"),
            # Days of 23 and of 25 hours.
            ("Europe/Berlin", "00:00", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("Europe/Berlin", "00:00", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            # The day starts in a skipped hour, and in a repeated one.
            ("Europe/Berlin", "02:30", "2026-03-29", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"),
            ("Europe/Berlin", "02:30", "2026-10-25", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
            # Midnight is skipped; the whole day is skipped.
            ("Asia/Beirut", "00:00", "2026-03-29", "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"),
            ("Pacific/Apia", "00:00", "2011-12-30", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z"),
        ],
    )
    def test_day_bounds_respect_day_start_and_clock_changes(
        self, zone: str, day_start: str, day: str, start: str, end: str
    ) -> None:
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
            # 03:15, before the day starts: 02:30 is skipped and moves to 03:30.
            ("2026-03-29T01:15:00Z", "Europe/Berlin", "02:30", "2026-03-28"),
            # The second 02:15, after the day started at the first 02:30.
            ("2026-10-25T01:15:00Z", "Europe/Berlin", "02:30", "2026-10-25"),
            # The 31st at 03:00, before day start: it belongs to the previous day, the 29th, since the 30th is skipped.
            ("2011-12-30T13:00:00Z", "Pacific/Apia", "05:00", "2011-12-29"),
        ],
    )
    def test_local_day_of_an_instant_respects_day_start_and_clock_changes(
        self, instant: str, zone: str, day_start: str, day: str
    ) -> None:
        assert local_day(at(instant), zone, time.fromisoformat(day_start)) == date.fromisoformat(day)

    def test_days_of_a_year_are_contiguous(self) -> None:
        days = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]

        bounds = [day_bounds(day, "Australia/Lord_Howe", MIDNIGHT) for day in days]

        assert [end for _, end in bounds[:-1]] == [start for start, _ in bounds[1:]]
        assert [local_day(start, "Australia/Lord_Howe", MIDNIGHT) for start, _ in bounds] == days
