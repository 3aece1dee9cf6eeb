"""Rows that went through PostgreSQL's JSON."""

from todo.kit.rows import instants_in_utc


# Task: T-112
class TestInstantsInUtc:
    def test_end_in_z_as_the_api_has_them(self) -> None:
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

    def test_come_in_the_order_of_the_names_with_null_for_what_was_not_there_yet(self) -> None:
        row = instants_in_utc({"old": 1, "secret": 2, "title": "a"}, ["title", "colour", "closed_at", "old"])

        assert list(row.items()) == [("title", "a"), ("colour", None), ("closed_at", None), ("old", 1)]
