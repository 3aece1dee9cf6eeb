"""UUIDs that sort by creation time."""

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
    def test_uuid7_contains_milliseconds_version_and_variant(self) -> None:
        # The example of RFC 9562, appendix A.6.
        made = uuid7(datetime(2022, 2, 22, 14, 22, 22, tzinfo=timezone(timedelta(hours=-5))))

        assert str(made).startswith("017f22e2-79b0-7")
        assert (made.version, made.variant) == (7, RFC_4122)

    @settings(deadline=None)
    @given(instants, instants)
    def test_uuid7_values_sort_by_time_to_the_microsecond(self, one: datetime, other: datetime) -> None:
        earlier, later = sorted((one, other))

        assert one == other or uuid7(earlier) < uuid7(later)

    @settings(deadline=None)
    @given(instants)
    def test_uuid7_has_version_7_and_the_millisecond_of_its_instant(self, instant: datetime) -> None:
        made = uuid7(instant)

        assert (made.version, made.variant) == (7, RFC_4122)
        assert made.int >> 80 == (instant - EPOCH) // timedelta(milliseconds=1)

    def test_uuid7_differs_on_each_call(self) -> None:
        instant = datetime(2026, 3, 10, tzinfo=UTC)

        assert len({uuid7(instant) for _ in range(1_000)}) == 1_000

    def test_uuid7_uses_the_current_time_by_default(self) -> None:
        before = uuid7(datetime.now(UTC) - timedelta(microseconds=1))

        made = uuid7()

        assert before < made < uuid7(datetime.now(UTC) + timedelta(microseconds=1))

    def test_uuid7_rejects_instants_before_1970(self) -> None:
        with pytest.raises(ValueError, match="out of range"):
            uuid7(EPOCH - timedelta(microseconds=1))


# Task: T-010
class TestPlainUuid:
    @pytest.mark.parametrize("text", [str(UUID(int=0)), "0197F0C2-A6B4-7e0b-8d3c-5a1e9f60b7d2"])
    def test_plain_uuid_accepts_the_hyphenated_form(self, text: str) -> None:
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
    def test_plain_uuid_rejects_every_other_form(self, text: str) -> None:
        with pytest.raises(ValueError, match="Expected a UUID, such as"):
            plain_uuid(text)
