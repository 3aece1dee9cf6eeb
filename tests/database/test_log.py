"""The change log for all kinds of SQL statements: each change once, in order, without gaps."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from support.change_log import Connection, add, become, counter_of, last, log_of, operations, revisions_of
from support.users import sign_up
from todo.migrations.change_log import CHANGE_LOG
from todo.models import metadata

[TASKS] = [table for table in CHANGE_LOG if table.name == "tasks"]
# The logged columns of a task with their default values.
UNSET: dict[str, Any] = {
    **dict.fromkeys(set(metadata.tables["tasks"].columns.keys()) - set(TASKS.excluded_columns)),
    "tags": [],
    "tag_keys": [],
    "subtasks_total": 0,
    "subtasks_completed": 0,
    "position": "500000000000001",
}


def move_to_tokyo(admin: Connection, user_id: str) -> None:
    """Add a profile with the time zone Asia/Tokyo."""
    admin.execute(
        "INSERT INTO profiles (user_id, id, time_zone, day_start, week_start, updated_at, revision)"
        " VALUES (%s, 'me', 'Asia/Tokyo', '00:00', 'monday', now(), 0)",
        (user_id,),
    )


# Task: T-111
class TestOneByOne:
    def test_log_contains_create_update_and_delete_of_a_row(self, admin: Connection, user_id: str) -> None:
        task_id = add(admin, user_id)
        created = {
            **UNSET,
            "id": str(task_id),
            "title": "Buy milk",
            "description": None,
            "status": "pending",
            "priority": "low",
            "due_date": None,
            "created_at": "2026-03-01T07:30:00+00:00",
            "updated_at": "2026-03-01T07:30:00+00:00",
            "completed_at": None,
            "creation_digest": "\\x0102",
        }
        updated = {**created, "title": "Buy bread", "priority": "high", "updated_at": "2026-03-02T07:30:00.5+00:00"}

        assert last(admin, user_id) == (created, None)
        admin.execute(
            "UPDATE tasks SET title = 'Buy bread', priority = 'high', updated_at = '2026-03-02 07:30:00.5Z'"
            " WHERE id = %s",
            (task_id,),
        )
        assert last(admin, user_id) == (updated, {"title": "Buy milk", "priority": "low"})
        admin.execute("DELETE FROM tasks WHERE id = %s", (task_id,))
        assert last(admin, user_id) == (None, updated)
        assert log_of(admin, user_id) == [
            (1, "create", str(task_id)),
            (2, "update", str(task_id)),
            (3, "delete", str(task_id)),
        ]
        assert counter_of(admin, user_id) == 3

    def test_row_contains_the_revision_of_its_last_change(self, admin: Connection, user_id: str) -> None:
        first, second = add(admin, user_id), add(admin, user_id)

        admin.execute("UPDATE tasks SET title = 'Buy bread', revision = 99 WHERE id = %s", (first,))

        assert revisions_of(admin, user_id) == {(first, 3), (second, 2)}

    @pytest.mark.parametrize("assignment", ["title = title", "updated_at = now()", "revision = 99", "id = id"])
    def test_update_that_changes_nothing_is_not_logged(self, admin: Connection, user_id: str, assignment: str) -> None:
        add(admin, user_id)
        row = "SELECT * FROM tasks WHERE user_id = %s"
        before = admin.execute(row, (user_id,)).fetchall()

        admin.execute(f"UPDATE tasks SET {assignment} WHERE user_id = %s", (user_id,))

        assert admin.execute(row, (user_id,)).fetchall() == before
        assert operations(admin, user_id) == [(1, "create")]

    def test_change_of_a_derived_column_is_not_logged(self, admin: Connection, user_id: str) -> None:
        """``due_at`` is derived from the due date and the owner's time zone. Only the profile's change is logged."""
        task_id = add(admin, user_id)
        admin.execute("UPDATE tasks SET due_date = '2026-03-10T09:00:00' WHERE id = %s", (task_id,))
        due_at = "SELECT to_char(due_at AT TIME ZONE 'UTC', 'HH24:MI'), revision FROM tasks WHERE id = %s"
        before = admin.execute(due_at, (task_id,)).fetchone()

        move_to_tokyo(admin, user_id)

        assert (before, admin.execute(due_at, (task_id,)).fetchone()) == (("09:00", 2), ("00:00", 2))
        assert log_of(admin, user_id)[1:] == [(2, "update", str(task_id)), (3, "create", "me")]
        state, _ = last(admin, user_id)
        assert state.keys() == {"id", "time_zone", "day_start", "week_start", "updated_at"}

    def test_reopening_a_task_logs_only_the_status(self, admin: Connection, user_id: str) -> None:
        """``due_at`` is derived anew from the owner's current time zone, which is not logged."""
        task_id = add(admin, user_id)
        admin.execute(
            "UPDATE tasks SET status = 'cancelled', due_date = '2026-03-10T09:00:00' WHERE id = %s", (task_id,)
        )
        move_to_tokyo(admin, user_id)

        admin.execute("UPDATE tasks SET status = 'pending' WHERE id = %s", (task_id,))

        due_at = admin.execute("SELECT due_at FROM tasks WHERE id = %s", (task_id,)).fetchall()[0][0]
        assert due_at == datetime(2026, 3, 10, tzinfo=UTC)
        assert last(admin, user_id)[1] == {"status": "cancelled"}

    def test_change_of_a_primary_key_is_logged_as_delete_and_create(self, admin: Connection, user_id: str) -> None:
        old, new = add(admin, user_id), uuid4()

        admin.execute("UPDATE tasks SET id = %s WHERE id = %s", (new, old))

        assert log_of(admin, user_id) == [
            (1, "create", str(old)),
            (2, "delete", str(old)),
            (3, "create", str(new)),
        ]
        assert revisions_of(admin, user_id) == {(new, 3)}

    def test_change_of_an_owner_is_logged_for_both_users(
        self, admin: Connection, user_id: str, database_url: str
    ) -> None:
        task_id, other = add(admin, user_id), sign_up(database_url, "bob")
        add(admin, other)

        admin.execute("UPDATE tasks SET user_id = %s WHERE id = %s", (other, task_id))

        assert operations(admin, user_id) == [(1, "create"), (2, "delete")]
        assert operations(admin, other) == [(1, "create"), (2, "create")]
        assert (task_id, 2) in revisions_of(admin, other)

    @pytest.mark.parametrize(
        "settings",
        [
            "SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German, DMY'; SET bytea_output = 'hex'",
            "SET timezone = '-11:30'; SET datestyle = 'SQL, MDY'; SET intervalstyle = 'iso_8601'",
            "SET search_path = ''",
        ],
    )
    def test_log_does_not_depend_on_the_settings_of_the_writer(
        self, admin: Connection, user_id: str, settings: str
    ) -> None:
        task_id = add(admin, user_id)
        expected, _ = last(admin, user_id)
        admin.execute("UPDATE tasks SET title = 'Buy bread' WHERE id = %s", (task_id,))

        admin.execute(settings.encode())
        admin.execute("UPDATE public.tasks SET title = 'Buy milk' WHERE id = %s", (task_id,))
        admin.execute("RESET ALL")

        assert last(admin, user_id) == (expected, {"title": "Buy bread"})

    def test_log_ignores_temporary_tables_of_the_writer(self, admin: Connection, user_id: str) -> None:
        with admin.transaction():
            admin.execute("CREATE TEMP TABLE changes (LIKE public.changes) ON COMMIT DROP")
            admin.execute("CREATE TEMP TABLE revisions (LIKE public.revisions) ON COMMIT DROP")
            admin.execute("SET LOCAL search_path = pg_temp, public, pg_catalog")
            add(admin, user_id)

        assert operations(admin, user_id) == [(1, "create")]


# Task: T-111
class TestInBulk:
    def test_each_row_of_a_statement_gets_its_own_revision(self, admin: Connection, user_id: str) -> None:
        admin.execute(
            "INSERT INTO tasks (user_id, id, title, status, priority, created_at, updated_at, creation_digest)"
            " SELECT %s, gen_random_uuid(), n, 'pending', 'low', now(), now(), '' FROM generate_series(1, 50) n",
            (user_id,),
        )
        admin.execute("UPDATE tasks SET priority = 'high' WHERE user_id = %s AND title::int <= 20", (user_id,))
        admin.execute("DELETE FROM tasks WHERE user_id = %s AND title::int > 40", (user_id,))

        expected = ["create"] * 50 + ["update"] * 20 + ["delete"] * 10
        assert operations(admin, user_id) == list(enumerate(expected, 1))
        assert {revision for _, revision in revisions_of(admin, user_id)} == {*range(21, 41), *range(51, 71)}

    def test_copy_is_logged(self, admin: Connection, user_id: str) -> None:
        columns = "user_id, id, title, status, priority, created_at, updated_at, creation_digest"

        with admin.cursor() as cursor, cursor.copy(f"COPY tasks ({columns}) FROM STDIN") as copy:
            for n in range(3):
                copy.write_row((user_id, uuid4(), str(n), "pending", "low", "2026-03-01Z", "2026-03-01Z", b""))

        assert operations(admin, user_id) == [(1, "create"), (2, "create"), (3, "create")]

    def test_merge_is_logged(self, admin: Connection, user_id: str) -> None:
        kept, dropped, new = add(admin, user_id), add(admin, user_id), uuid4()

        admin.execute(
            "MERGE INTO tasks USING (VALUES (%s::uuid, 'a'), (%s, 'b'), (%s, 'c')) v (id, title)"
            " ON tasks.id = v.id AND tasks.user_id = %s WHEN MATCHED AND v.title = 'b' THEN DELETE"
            " WHEN MATCHED THEN UPDATE SET title = v.title"
            " WHEN NOT MATCHED THEN INSERT"
            " (user_id, id, title, status, priority, created_at, updated_at, creation_digest, revision)"
            " VALUES (%s, v.id, v.title, 'pending', 'low', now(), now(), '', 0)",
            (kept, dropped, new, user_id, user_id),
        )

        assert sorted(log_of(admin, user_id)[2:], key=lambda row: row[1]) == [
            (4, "create", str(new)),
            (5, "delete", str(dropped)),
            (3, "update", str(kept)),
        ]

    def test_data_modifying_cte_is_logged(self, admin: Connection, user_id: str) -> None:
        old = add(admin, user_id)

        admin.execute(
            "WITH gone AS (DELETE FROM tasks WHERE id = %s RETURNING *)"
            " INSERT INTO tasks SELECT user_id, gen_random_uuid(), title || '!', description, status, priority,"
            " due_date, created_at, updated_at, completed_at, creation_digest, revision FROM gone",
            (old,),
        )

        assert sorted(operation for _, operation in operations(admin, user_id)) == ["create", "create", "delete"]
        assert [revision for revision, _ in operations(admin, user_id)] == [1, 2, 3]

    def test_each_user_has_own_revisions(self, admin: Connection, user_id: str, database_url: str) -> None:
        other = sign_up(database_url, "bob")
        for owner in (user_id, other, user_id):
            add(admin, owner)

        admin.execute("UPDATE tasks SET priority = 'high' WHERE user_id IN (%s, %s)", (user_id, other))

        assert [revision for revision, _ in operations(admin, user_id)] == [1, 2, 3, 4]
        assert [revision for revision, _ in operations(admin, other)] == [1, 2]


# Task: T-111
class TestApplicationRole:
    def test_application_role_writes_the_log_of_its_user(self, admin: Connection, user_id: str) -> None:
        with admin.transaction():
            become(admin, user_id)
            task_id = add(admin, user_id)
            admin.execute("UPDATE tasks SET title = 'Buy bread'")
            admin.execute("DELETE FROM tasks")

        assert log_of(admin, user_id) == [
            (1, "create", str(task_id)),
            (2, "update", str(task_id)),
            (3, "delete", str(task_id)),
        ]

    def test_application_role_cannot_write_the_log_of_another_user(
        self, admin: Connection, user_id: str, database_url: str
    ) -> None:
        other = sign_up(database_url, "bob")

        with pytest.raises(psycopg.errors.InsufficientPrivilege), admin.transaction():
            become(admin, user_id)
            add(admin, other)

        assert (log_of(admin, other), counter_of(admin, other)) == ([], None)
