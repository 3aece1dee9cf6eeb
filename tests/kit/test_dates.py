"""Due dates as text: accepted forms and the canonical form."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from todo.kit.dates import canonical_due, format_due, is_instant, parse_due

EXPECTED = (
    "Expected a date (2026-03-10), a date and time (2026-03-10T09:00:00), or one with an offset (2026-03-10T09:00:00Z)."
)
NO_SUCH_DATE = "There is no such date. Check the day and the month; years go from 0001 to 9999."
NO_SUCH_TIME = "There is no such time. Hours go from 00 to 23, minutes and seconds from 00 to 59."
TOO_FINE = "A fraction of a second has at most six digits."
OUT_OF_RANGE = "In UTC this is outside of the years 0001 to 9999."

CANONICAL = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z?)?", re.ASCII)

without_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
offsets = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(
    lambda offset: timezone(timedelta(minutes=offset // timedelta(minutes=1)))
)
# One day from both limits, so that the year in UTC is 1 to 9999 for every offset.
instants = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=offsets)  # noqa: DTZ001
almost_dates = st.from_regex(
    r"\d{4}-?(\d\d|W\d\d)-?\d{1,2}([Tt ]\d\d(:?\d\d(:?\d\d([.,]\d{1,9})?)?)?([Zz]|[+-]\d\d:?(\d\d)?)?)?\n?",
    fullmatch=True,
)


# Task: T-011
# Task: T-311
class TestCanonicalDue:
    @pytest.mark.parametrize(
        ("given_text", "canonical"),
        [
            ("2026-03-10", "2026-03-10"),
            ("2028-02-29", "2028-02-29"),
            ("0001-01-01", "0001-01-01"),
            ("9999-12-31", "9999-12-31"),
            ("2026-03-10T09:00:00", "2026-03-10T09:00:00"),
            ("2026-03-10t09:00", "2026-03-10T09:00:00"),
            ("2026-03-10T09:00:00.500", "2026-03-10T09:00:00.5"),
            ("2026-03-10T00:00:00", "2026-03-10T00:00:00"),
            ("0001-01-01T00:00:00", "0001-01-01T00:00:00"),
            ("9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999"),
            ("2026-03-10T09:00:00Z", "2026-03-10T09:00:00Z"),
            ("2026-03-10t09:00:00z", "2026-03-10T09:00:00Z"),
            ("2026-03-10T09:00Z", "2026-03-10T09:00:00Z"),
            ("2026-03-10T09:00:00+00:00", "2026-03-10T09:00:00Z"),
            ("2026-03-10T09:00:00-00:00", "2026-03-10T09:00:00Z"),
            ("2026-03-10T09:00:00+01:00", "2026-03-10T08:00:00Z"),
            ("2026-03-10T00:30:00+01:00", "2026-03-09T23:30:00Z"),
            ("2026-03-10T22:00:00-05:45", "2026-03-11T03:45:00Z"),
            ("2026-03-10T09:00:00.123456Z", "2026-03-10T09:00:00.123456Z"),
            # Formatted as PostgreSQL, and therefore ``created_at``, formats it.
            ("2026-03-10T09:00:00.500Z", "2026-03-10T09:00:00.5Z"),
            ("2026-03-10T09:00:00.000Z", "2026-03-10T09:00:00Z"),
            ("2026-03-10T09:00:10Z", "2026-03-10T09:00:10Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ],
    )
    def test_due_dates_are_converted_to_the_canonical_form(self, given_text: str, canonical: str) -> None:
        assert canonical_due(given_text) == canonical

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            *(
                (text, EXPECTED)
                for text in (
                    *(
                        "",
                        "tomorrow",
                        "20260310",
                        "2026-W10-2",
                        "2026W102",
                        "2026-069",
                        "2026-03",
                        "2026-3-10",
                        "26-03-10",
                    ),
                    *(
                        "2026/03/10",
                        "10.03.2026",
                        "+2026-03-10",
                        "-2026-03-10",
                        "12026-03-10",
                        " 2026-03-10",
                        "2026-03-10\n",
                    ),
                    *(
                        "\u0662026-03-10",
                        "2026-03-10T",
                        "2026-03-10Z",
                        "2026-03-10T09Z",
                        "2026-03-10 09:00:00Z",
                        "2026-03-10T0900Z",
                    ),
                    *("20260310T090000Z", "2026-W10-2T09:00:00Z", "2026-03-10T09:00:00,5Z", "2026-03-10T09:00:00.Z"),
                    *("2026-03-10T09:00:00+01", "2026-03-10T09:00:00+0100", "2026-03-10T09:00:00+24:00"),
                    *("2026-03-10T09:00:00+01:60", "2026-03-10T09:00:00+01:00:30", "2026-03-10T09:00:00 Z"),
                    *("2026-03-10T09:00:00Z\n", "2026-03-10T09:00:00[Europe/Berlin]", "2026-03-10T09:00:00 CET"),
                    *("2026-03-10/2026-03-11", "1773133200", "0", "25:99", "2026-03-10T09:00:\u0660\u0660Z"),
                )
            ),
            *(
                (text, NO_SUCH_DATE)
                for text in (
                    *("2026-02-30", "2026-02-29", "2100-02-29", "2026-04-31", "2026-13-01", "2026-00-10", "2026-03-00"),
                    *("0000-01-01", "2026-02-30T09:00:00Z", "2026-02-30T09:00:00", "0000-12-31T23:59:59-01:00"),
                )
            ),
            *(
                (text, NO_SUCH_TIME)
                for text in (
                    *("2026-03-10T24:00:00Z", "2026-03-10T24:00Z", "2026-12-31T23:59:60Z", "2026-03-10T09:60:00Z"),
                    *("2026-03-10T25:99", "2026-03-10T09:00:61+01:00"),
                )
            ),
            ("2026-03-10T09:00:00.1234567Z", TOO_FINE),
            ("2026-03-10T09:00:00.000000000Z", TOO_FINE),
            ("0001-01-01T00:00:00+00:01", OUT_OF_RANGE),
            ("9999-12-31T23:59:59-00:01", OUT_OF_RANGE),
        ],
    )
    def test_invalid_due_dates_are_rejected_with_a_specific_message(self, text: str, message: str) -> None:
        with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
            canonical_due(text)

    @without_deadline
    @given(st.dates())
    def test_every_date_is_kept_unchanged(self, day: date) -> None:
        assert canonical_due(day.isoformat()) == day.isoformat()

    @without_deadline
    @given(st.datetimes())
    def test_wall_clock_times_are_kept_to_the_microsecond(self, shown: datetime) -> None:
        canonical = canonical_due(shown.isoformat())

        assert CANONICAL.fullmatch(canonical)
        assert parse_due(canonical) == shown
        assert format_due(shown) == canonical

    @without_deadline
    @given(instants)
    def test_instants_are_kept_to_the_microsecond(self, instant: datetime) -> None:
        canonical = canonical_due(instant.isoformat())

        assert CANONICAL.fullmatch(canonical)
        assert datetime.fromisoformat(canonical) == instant
        assert datetime.fromisoformat(canonical).tzinfo == UTC

    @without_deadline
    @given(st.one_of(st.text(), almost_dates))
    def test_any_text_becomes_canonical_or_is_rejected_with_a_known_message(self, text: str) -> None:
        try:
            canonical = canonical_due(text)
        except ValueError as error:
            said = str(error)
        else:
            said = (
                "it is good" if canonical == canonical_due(canonical) and CANONICAL.fullmatch(canonical) else canonical
            )

        assert said in {"it is good", EXPECTED, NO_SUCH_DATE, NO_SUCH_TIME, TOO_FINE, OUT_OF_RANGE}


# Task: T-311
@pytest.mark.parametrize(
    ("text", "expected"),
    [("2026-03-10", False), ("2026-03-10T09:00:00", False), ("2026-03-10T09:00:00Z", True)],
)
def test_only_a_time_with_an_offset_is_an_instant(text: str, *, expected: bool) -> None:
    assert is_instant(parse_due(text)) is expected
