"""Errors of PostgreSQL by SQLSTATE: temporary failures and defects."""

import pytest

from todo.database import DatabaseError
from todo.database.errors import as_unavailable


# Task: T-020
class TestAsUnavailable:
    @pytest.mark.parametrize(
        "sqlstate",
        [
            "08006",
            "25006",
            "25P03",
            "40001",
            "40P01",
            "53100",
            "53200",
            "53300",
            "55P03",
            "57014",
            "57P01",
            "57P03",
            "58030",
        ],
    )
    def test_temporary_failure_becomes_a_503(self, sqlstate: str) -> None:
        unavailable = as_unavailable(DatabaseError(sqlstate))

        assert unavailable is not None
        assert (unavailable.status, unavailable.headers) == (503, {"Retry-After": "1"})

    @pytest.mark.parametrize("sqlstate", ["22012", "23505", "25P02", "42501", "42601", "55000", "XX000"])
    def test_defect_does_not_become_a_503(self, sqlstate: str) -> None:
        assert as_unavailable(DatabaseError(sqlstate)) is None


# Task: T-020
class TestDatabaseError:
    def test_database_error_shows_no_values(self) -> None:
        error = DatabaseError("23505", "pk_tasks")

        assert (str(error), error.constraint) == ("PostgreSQL answered SQLSTATE 23505", "pk_tasks")
