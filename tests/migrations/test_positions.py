"""Positions: between any two there is a third one, and concurrent writers never get the same one."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.users import sign_up

BETWEEN = "SELECT app.position_between(%s, %s)"
FIRST, LAST = "500000000000000", "500000000000010"
# Digits after the first fifteen never end in zero: otherwise two texts would stand for one number.
POSITIONS = st.from_regex(r"[0-9]{13}[1-8][0-9]([0-9]{0,20}[1-9])?", fullmatch=True)


@pytest.fixture(scope="module")
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection to the shared database, in autocommit mode. Tests do not write through it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def between(connection: psycopg.Connection) -> Callable[[str | None, str | None], str]:
    """The function under test."""

    def call(lower: str | None, upper: str | None) -> str:
        [[found]] = connection.execute(BETWEEN, (lower, upper)).fetchall()
        return str(found)

    return call


# Task: T-333
class TestBetween:
    @pytest.mark.parametrize(
        ("lower", "upper", "found"),
        [
            ("500000000000001", None, "500000000000002"),
            ("5000000000000019", None, "500000000000002"),
            (None, "500000000000001", "500000000000000"),
            (None, "5000000000000019", "500000000000000"),
            ("500000000000001", "500000000000002", "5000000000000015"),
            ("500000000000001", "500000000000004", "500000000000003"),
            ("500000000000000", "500000000000020", "500000000000010"),
            ("500000000000001", "5000000000000011", "50000000000000105"),
            ("5000000000000019", "500000000000002", "50000000000000195"),
            ("099999999999999", None, "100000000000000"),
            (None, "100000000000000", "099999999999999"),
        ],
    )
    def test_position_between_two_others_is_as_short_as_possible(
        self, between: Callable[[str | None, str | None], str], lower: str | None, upper: str | None, found: str
    ) -> None:
        assert between(lower, upper) == found

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(st.sets(POSITIONS, min_size=2, max_size=2))
    def test_position_between_two_others_sorts_between_them_as_text(
        self, between: Callable[[str | None, str | None], str], two: set[str]
    ) -> None:
        lower, upper = sorted(two)

        found = between(lower, upper)

        assert lower < found < upper
        assert len(found) == 15 or not found.endswith("0")
        below, above = between(None, lower), between(upper, None)
        assert below < lower
        assert upper < above
        assert len(below) == len(above) == 15

    @pytest.mark.parametrize("goes", ["up", "down"])
    def test_repeated_bisection_takes_a_third_of_a_digit_per_step(
        self, between: Callable[[str | None, str | None], str], goes: str
    ) -> None:
        lower, upper = FIRST, LAST

        for _ in range(300):
            middle = between(lower, upper)
            lower, upper = (middle, upper) if goes == "up" else (lower, middle)

        assert 15 < len(middle) < 120

    def test_exhausted_positions_raise_an_error(self, connection: psycopg.Connection) -> None:
        upper = FIRST + "0" * 984 + "1"

        with pytest.raises(psycopg.Error) as raised:
            connection.execute(BETWEEN, (FIRST, upper))

        assert raised.value.sqlstate == "TD005"


def add_categories(connection: psycopg.Connection, user_id: str, number: int) -> list[UUID]:
    """Insert categories without positions."""
    ids = [uuid4() for _ in range(number)]
    for category_id in ids:
        connection.execute(
            "INSERT INTO categories (user_id, id, name, name_key, archived, created_at, updated_at, creation_digest)"
            " VALUES (%s, %s, %s, %s, false, now(), now(), '')",
            (user_id, category_id, str(category_id), str(category_id)),
        )
    return ids


# Task: T-333
class TestWriters:
    def test_concurrent_writers_get_different_positions(self, database_url: str) -> None:
        """Their statements start before the others have committed, and they take no lock before."""
        user_id = sign_up(database_url, "alice")
        with psycopg.connect(database_url, autocommit=True) as connection:
            anchor, *others = add_categories(connection, user_id, 21)
        start = threading.Barrier(len(others))

        def move(category_id: UUID) -> None:
            with psycopg.connect(database_url) as connection:
                connection.execute(
                    "SELECT set_config('app.user', extract(epoch FROM now()) || ' ' || %s, true)", (user_id,)
                )
                connection.execute("SET LOCAL ROLE todo_app")
                start.wait(timeout=30)
                connection.execute(
                    "UPDATE categories SET position = app.position_in_categories(user_id, id, %s, true)"
                    " WHERE user_id = %s AND id = %s",
                    (anchor, user_id, category_id),
                )

        with ThreadPoolExecutor(len(others)) as writers:
            list(writers.map(move, others))

        with psycopg.connect(database_url) as connection:
            rows = connection.execute(
                "SELECT id, position, revision FROM categories WHERE user_id = %s ORDER BY position", (user_id,)
            ).fetchall()
        assert rows[0][0] == anchor
        assert all(earlier[1] < later[1] for earlier, later in pairwise(rows))
        # Later moves are closer to the anchor. The first one may have been in its place already.
        revisions = [revision for _, _, revision in rows[1:]]
        assert revisions == sorted(revisions, reverse=True)

    def test_occupied_position_is_replaced_by_the_next_free_one(self, database_url: str) -> None:
        user_id = sign_up(database_url, "alice")
        with psycopg.connect(database_url, autocommit=True) as connection:
            first, second, third = add_categories(connection, user_id, 3)

            connection.execute(
                "UPDATE categories SET position = (SELECT position FROM categories WHERE id = %s) WHERE id = %s",
                (first, third),
            )

            rows = connection.execute(
                "SELECT id, position FROM categories WHERE user_id = %s ORDER BY position", (user_id,)
            ).fetchall()
        assert rows == [
            (first, "500000000000001"),
            (third, "5000000000000015"),
            (second, "500000000000002"),
        ]

    def test_new_rows_get_positions_at_the_end(self, database_url: str) -> None:
        user_id = sign_up(database_url, "alice")
        with psycopg.connect(database_url, autocommit=True) as connection:
            ids = add_categories(connection, user_id, 3)

            rows = connection.execute(
                "SELECT id, position, revision FROM categories WHERE user_id = %s ORDER BY position", (user_id,)
            ).fetchall()
        assert rows == [(category_id, f"50000000000000{number}", number) for number, category_id in enumerate(ids, 1)]
