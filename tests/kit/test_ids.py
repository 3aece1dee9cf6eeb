"""Identifiers that sort by the time they were made."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from todo.kit.ids import plain_uuid, uuid7

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
instants = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


# Task: T-010
class TestUuid7:
    def test_holds_the_milliseconds_the_version_and_the_variant(self) -> None:
        # The instant of the example in RFC 9562, appendix A.6.
        made = uuid7(datetime(2022, 2, 22, 14, 22, 22, tzinfo=timezone(timedelta(hours=-5))))

        assert str(made).startswith("017f22e2-79b0-7")
        assert (made.version, made.variant) == (7, RFC_4122)

    @settings(deadline=None)
    @given(instants, instants)
    def test_sorts_by_time_down_to_the_microsecond(self, one: datetime, other: datetime) -> None:
        earlier, later = sorted((one, other))

        assert one == other or uuid7(earlier) < uuid7(later)

    @settings(deadline=None)
    @given(instants)
    def test_is_a_version_7_that_tells_its_millisecond(self, instant: datetime) -> None:
        made = uuid7(instant)

        assert (made.version, made.variant) == (7, RFC_4122)
        assert made.int >> 80 == (instant - EPOCH) // timedelta(milliseconds=1)

    def test_differs_each_time(self) -> None:
        instant = datetime(2026, 3, 10, tzinfo=UTC)

        assert len({uuid7(instant) for _ in range(1_000)}) == 1_000

    def test_means_now_when_no_instant_is_given(self) -> None:
        before = uuid7(datetime.now(UTC) - timedelta(microseconds=1))

        made = uuid7()

        assert before < made < uuid7(datetime.now(UTC) + timedelta(microseconds=1))

    def test_refuses_what_it_cannot_hold(self) -> None:
        with pytest.raises(ValueError, match="out of range"):
            uuid7(EPOCH - timedelta(microseconds=1))


# Task: T-010
class TestPlainUuid:
    @pytest.mark.parametrize("text", [str(UUID(int=0)), "0197F0C2-A6B4-7e0b-8d3c-5a1e9f60b7d2"])
    def test_takes_the_form_with_hyphens(self, text: str) -> None:
        assert plain_uuid(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "42",
            "0197f0c2a6b47e0b8d3c5a1e9f60b7d2",
            "urn:uuid:0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2",
            "{0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2}",
            " 0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2",
            "0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2\n",
            "0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d\u0662",
        ],
    )
    def test_refuses_every_other(self, text: str) -> None:
        with pytest.raises(ValueError, match="Expected a UUID, such as"):
            plain_uuid(text)
