"""Maintenance: pruning in small batches, for all users, by a role that cannot read their rows."""

from typing import LiteralString

import psycopg
import pytest

from support.databases import open_database
from support.expired_rows import Connection, log_days_ago, revisions_left
from support.users import sign_up
from todo.database import Database, empty_trash, prune

FUNCTIONS = ("prune", "empty_trash")


async def prune_everybody(database: Database) -> None:
    for function, kept_days in ((prune, 90), (empty_trash, 30)):
        next_user: int | None = 0
        while next_user is not None:
            next_user = (await function(database, kept_days=kept_days, from_user=next_user)).next_user


# Task: T-113
# Task: T-352
class TestPrune:
    async def test_pruning_removes_at_most_500_rows_per_call(
        self, database: Database, database_url: str, admin: Connection
    ) -> None:
        user_id = sign_up(database_url, "alice")
        await prune_everybody(database)
        [(place,)] = admin.execute('SELECT count(*) FROM "user" WHERE id < %s', (user_id,)).fetchall()
        log_days_ago(admin, user_id, *[91] * 700)

        first = await prune(database, kept_days=90, from_user=place)
        second = await prune(database, kept_days=90, from_user=first.next_user or 0)

        assert (first.removed, first.next_user) == (500, place)
        assert second.removed == 200

    async def test_pruning_does_nothing_while_another_process_prunes(
        self, database: Database, database_url: str, admin: Connection
    ) -> None:
        user_id = sign_up(database_url, "alice")
        log_days_ago(admin, user_id, 91)
        with psycopg.connect(database_url) as other:
            other.execute("SELECT app.prune(36500, 0), app.empty_trash(36500, 0)")

            batches = [await function(database, kept_days=30, from_user=0) for function in (prune, empty_trash)]

        assert [(batch.removed, batch.next_user) for batch in batches] == [(0, None)] * 2
        assert revisions_left(admin, user_id) == [1]

    @pytest.mark.parametrize("function", FUNCTIONS)
    @pytest.mark.parametrize("kept_days", ["0", "NULL"])
    def test_pruning_keeps_at_least_one_day_for_any_caller(
        self, database_url: str, function: str, kept_days: LiteralString
    ) -> None:
        with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.InvalidParameterValue):
            connection.execute("SET ROLE todo_app")
            connection.execute(f"SELECT app.{function}({kept_days}, 0)")

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_pruning_restores_the_identity_of_the_caller(
        self, database_url: str, admin: Connection, function: str
    ) -> None:
        user_id = sign_up(database_url, "alice")
        log_days_ago(admin, user_id, 91)
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "SELECT set_config('app.user', extract(epoch FROM now()) || ' me', true),"
                " set_config('role', 'todo_app', true)"
            )

            connection.execute(f"SELECT app.{function}(90, 0)")

            assert connection.execute("SELECT app.uid(), current_user").fetchone() == ("me", "todo_app")

    @pytest.mark.parametrize("attributes", ["BYPASSRLS", "NOBYPASSRLS"])
    async def test_pruning_works_if_the_table_owner_is_no_superuser(
        self, own_url: str, own_admin: Connection, attributes: str
    ) -> None:
        user_id, other = sign_up(own_url, "alice"), sign_up(own_url, "bob")
        log_days_ago(own_admin, user_id, 91, 89)
        log_days_ago(own_admin, other, 91)
        own_admin.execute(
            "UPDATE tasks SET trashed_at = now() - interval '31 days', trash_id = id WHERE user_id = %s", (other,)
        )
        own_admin.execute("DELETE FROM changes WHERE user_id = %s", (other,))
        own_admin.execute(f"ALTER ROLE todo_owner {attributes}")
        async with open_database(own_url) as database:
            await prune_everybody(database)

        own_admin.execute("ALTER ROLE todo_owner NOBYPASSRLS")
        assert (revisions_left(own_admin, user_id), revisions_left(own_admin, other)) == ([2], [3])
        assert own_admin.execute("SELECT count(*) FROM tasks WHERE user_id = %s", (other,)).fetchone() == (0,)
