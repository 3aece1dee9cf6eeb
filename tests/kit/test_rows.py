"""Rows that were serialized as JSON by PostgreSQL."""

from todo.kit.rows import instants_in_utc


# Task: T-112
class TestInstantsInUtc:
    def test_instants_in_utc_end_in_z(self) -> None:
        state = {
            "title": "at 10:00+00:00",
            "created_at": "2026-03-10T09:00:00.5+00:00",
            "updated_at": "2026-03-10T09:00:00Z",
            "completed_at": None,
        }

        assert instants_in_utc(state, state) == {
            "title": "at 10:00+00:00",
            "created_at": "2026-03-10T09:00:00.5Z",
            "updated_at": "2026-03-10T09:00:00Z",
            "completed_at": None,
        }

    def test_rows_have_the_requested_columns_in_order_with_null_for_missing_ones(self) -> None:
        row = instants_in_utc({"old": 1, "secret": 2, "title": "a"}, ["title", "colour", "closed_at", "old"])

        assert list(row.items()) == [("title", "a"), ("colour", None), ("closed_at", None), ("old", 1)]
