"""Derived data (counts, tags, subtask counters) after statements that change many tasks at once."""

from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from support import invariants
from support.users import sign_up

Connection = psycopg.Connection[Any]
ADD = (
    "INSERT INTO tasks (user_id, id, title, status, priority, parent_id, tags, tag_keys, created_at, updated_at,"
    " creation_digest) VALUES (%s, %s, 'Buy milk', 'pending', 'low', %s, %s, %s, now(), now(), '')"
)


def add(connection: Connection, user_id: str, *tags: str, parent: UUID | None = None) -> UUID:
    task_id = uuid4()
    keys = [tag.lower() for tag in tags]
    connection.execute(ADD, (user_id, task_id, parent, Jsonb(tags), Jsonb(keys)))
    return task_id


def changes_of(connection: Connection, task_id: UUID) -> int:
    [[count]] = connection.execute("SELECT count(*) FROM changes WHERE entity_id = %s", (str(task_id),)).fetchall()
    return int(count)


# Task: T-383
class TestOneStatement:
    def test_update_of_many_tasks_keeps_the_invariants(self, connection: Connection, user_id: str) -> None:
        parents = [add(connection, user_id) for _ in range(2)]
        children = [
            add(connection, user_id, "Work", f"Tag {number}", parent=parents[number % 2]) for number in range(12)
        ]
        before = [changes_of(connection, parent) for parent in parents]

        connection.execute(
            "UPDATE tasks SET parent_id = CASE mod(n, 3) WHEN 0 THEN %(other)s ELSE parent_id END,"
            " status = CASE mod(n, 2) WHEN 0 THEN 'completed' ELSE 'pending' END,"
            " completed_at = CASE mod(n, 2) WHEN 0 THEN now() END,"
            " trashed_at = CASE mod(n, 5) WHEN 0 THEN now() END, trash_id = CASE mod(n, 5) WHEN 0 THEN id END,"
            ' tags = CASE mod(n, 4) WHEN 0 THEN \'["WORK", "new"]\' ELSE tags END,'
            ' tag_keys = CASE mod(n, 4) WHEN 0 THEN \'["work", "new"]\' ELSE tag_keys END'
            " FROM unnest(%(children)s) WITH ORDINALITY AS each (child, n) WHERE user_id = %(user)s AND id = child",
            {"other": parents[0], "children": children, "user": user_id},
        )

        assert invariants.violations(connection, user_id) == {}
        assert [changes_of(connection, parent) for parent in parents] == [count + 1 for count in before]

    def test_delete_of_a_subtree_keeps_the_invariants(self, connection: Connection, user_id: str) -> None:
        parent = add(connection, user_id, "Work")
        for number in range(4):
            add(connection, user_id, "Work", f"Tag {number}", parent=parent)
        add(connection, user_id, "work")

        connection.execute("DELETE FROM tasks WHERE user_id = %s AND id = %s", (user_id, parent))

        assert invariants.violations(connection, user_id) == {}
        tags = connection.execute("SELECT tag, tasks FROM tag_counts WHERE user_id = %s", (user_id,)).fetchall()
        assert tags == [("work", 1)]

    def test_change_of_the_owner_of_many_tasks_keeps_the_invariants(
        self, connection: Connection, user_id: str, database_url: str
    ) -> None:
        other = sign_up(database_url, "bob")
        for number in range(3):
            add(connection, user_id, "Work", f"Tag {number}")

        connection.execute("UPDATE tasks SET user_id = %s WHERE user_id = %s", (other, user_id))

        assert invariants.violations(connection, user_id) == {}
        assert invariants.violations(connection, other) == {}
        counts = connection.execute("SELECT sum(tasks) FROM task_counts WHERE user_id = %s", (other,)).fetchall()
        assert counts == [(3,)]
