"""Invariants of a user's rows, whatever wrote them. Each rule is a query that returns the violations."""

from collections.abc import Mapping
from typing import Any

import psycopg

from todo.migrations.change_log import CHANGE_LOG, LoggedTable

_NOBODY = "'00000000-0000-0000-0000-000000000000'"
_MINE = "(SELECT * FROM {table} WHERE user_id = %(user)s)"


def _differing(stored: str, derived: str) -> str:
    """Return a query for the rows that are in exactly one of two results."""
    return (
        f"SELECT * FROM (({stored}) EXCEPT ({derived})) AS superfluous"
        f" UNION ALL SELECT * FROM (({derived}) EXCEPT ({stored})) AS missing"
    )


def _latest_in_log(table: LoggedTable) -> str:
    """Return a query for objects whose last logged change differs from their row. Pruned changes are ignored."""
    excluded = ",".join(table.excluded_columns)
    return (
        "SELECT entity_id, latest.revision FROM ("
        " SELECT DISTINCT ON (entity_id) * FROM changes WHERE user_id = %(user)s"
        f" AND entity = '{table.entity}' ORDER BY entity_id, revision DESC) AS latest"
        f" LEFT JOIN {_MINE.format(table=table.name)} AS thing ON thing.id::text = entity_id"
        " WHERE latest.state IS DISTINCT FROM to_jsonb(thing) - '{" + excluded + "}'::text[]"
        " OR thing.revision <> latest.revision"
    )


# The subtasks of a task that are not in the trash. Closed occurrences have no parent.
_CHILDREN = (
    "SELECT p.id, count(c.id)::int, count(c.id) FILTER (WHERE c.status = 'completed')::int FROM tasks AS p"
    " LEFT JOIN tasks AS c ON c.user_id = p.user_id AND c.parent_id = p.id AND c.trashed_at IS NULL"
    " WHERE p.user_id = %(user)s GROUP BY p.id"
)
_TEXTS = (
    "(VALUES (title, 1), (description, 3)) AS texts (text, weight)",
    "(SELECT tag, 2 FROM jsonb_array_elements_text(tags) AS tag) AS texts (text, weight)",
)
_WORDS = " UNION ALL ".join(
    "SELECT id, left(word, 64) AS word, weight, created_at FROM tasks,"
    f" LATERAL {texts}, LATERAL string_to_table(app.normalize_for_search(text), ' ') AS word"
    " WHERE user_id = %(user)s AND word <> ''"
    for texts in _TEXTS
)
_ABOVE = (
    "WITH RECURSIVE above (id, next_id, level) AS ("
    " SELECT id, parent_id, 1 FROM tasks WHERE user_id = %(user)s UNION ALL"
    " SELECT above.id, t.parent_id, level + 1 FROM above JOIN tasks AS t ON t.user_id = %(user)s AND t.id = next_id"
    " WHERE level < 9)"
)

RULES: Mapping[str, str] = {
    **{
        f"the last change of each row of {table.name} contains its current state": _latest_in_log(table)
        for table in CHANGE_LOG
    },
    "revisions have no gaps": (
        "SELECT revision FROM (SELECT revision, lag(revision) OVER (ORDER BY revision) AS one_before FROM changes"
        " WHERE user_id = %(user)s) AS log WHERE revision <> one_before + 1"
    ),
    "the revision counter equals the last change": (
        "SELECT r.revision, max(c.revision) FROM revisions AS r JOIN changes AS c USING (user_id)"
        " WHERE user_id = %(user)s GROUP BY r.revision HAVING r.revision <> max(c.revision)"
    ),
    "task_counts matches tasks": _differing(
        "SELECT category_id, status, priority, tasks FROM task_counts WHERE user_id = %(user)s AND tasks <> 0",
        f"SELECT coalesce(category_id, {_NOBODY}), status, priority, count(*) FROM tasks"
        " WHERE user_id = %(user)s AND trashed_at IS NULL GROUP BY 1, 2, 3",
    ),
    "task_tags matches tasks": _differing(
        "SELECT tag_key, task_id, tag, created_at FROM task_tags WHERE user_id = %(user)s",
        "SELECT key, id, tags ->> (place - 1)::int, created_at FROM tasks,"
        " jsonb_array_elements_text(tag_keys) WITH ORDINALITY AS keys (key, place)"
        " WHERE user_id = %(user)s AND trashed_at IS NULL",
    ),
    "tag_counts matches tasks": _differing(
        "SELECT tag_key, tag, tasks FROM tag_counts WHERE user_id = %(user)s",
        "SELECT key, tags ->> (place - 1)::int AS tag, count(*) FROM tasks,"
        " jsonb_array_elements_text(tag_keys) WITH ORDINALITY AS keys (key, place)"
        " WHERE user_id = %(user)s AND trashed_at IS NULL GROUP BY 1, 2",
    ),
    "tag_keys matches tags": (
        "SELECT id, tags, tag_keys FROM tasks"
        " WHERE user_id = %(user)s AND (tag_keys <> normalize(lower(tags::text))::jsonb"
        " OR jsonb_array_length(tag_keys) <> (SELECT count(DISTINCT key) FROM jsonb_array_elements(tag_keys) AS key))"
    ),
    "task_words matches tasks": _differing(
        "SELECT task_id, word, weight::int, created_at FROM task_words WHERE user_id = %(user)s",
        f"SELECT id, word, min(weight), created_at FROM ({_WORDS}) AS words GROUP BY id, word, created_at",
    ),
    "subtask counters match subtasks": _differing(
        "SELECT id, subtasks_total, subtasks_completed FROM tasks WHERE user_id = %(user)s", _CHILDREN
    ),
    "trees have at most five levels and no cycle": f"{_ABOVE} SELECT id FROM above WHERE level > 5",
    "no task outside the trash has a parent in the trash": (
        "SELECT c.id FROM tasks AS c JOIN tasks AS p ON p.user_id = c.user_id AND p.id = c.parent_id"
        " WHERE c.user_id = %(user)s AND c.trashed_at IS NULL AND p.trashed_at IS NOT NULL"
    ),
    "a series has one recurring task, and its id is series_id": (
        "SELECT series_id FROM tasks WHERE user_id = %(user)s AND recurrence IS NOT NULL GROUP BY series_id"
        " HAVING count(*) > 1 OR bool_or(id <> series_id)"
    ),
    "next_occurrences starts with the open occurrence": (
        "SELECT id, next_occurrences FROM tasks"
        " WHERE user_id = %(user)s AND next_occurrences IS NOT NULL AND (recurrence IS NULL"
        " OR recurrence ->> 'from' <> 'due' OR next_occurrences -> 0 ->> 0 <> due_date"
        " OR jsonb_array_length(next_occurrences) > 11)"
    ),
    "due_at and start_at of open tasks match their dates": (
        "SELECT t.id, due_at, start_at FROM tasks AS t LEFT JOIN profiles AS p USING (user_id)"
        " CROSS JOIN LATERAL (SELECT coalesce(p.time_zone, 'UTC') AS zone,"
        " coalesce(p.day_start, '00:00')::time AS begin) AS here"
        " WHERE user_id = %(user)s AND status IN ('pending', 'in_progress') AND ("
        " due_at IS DISTINCT FROM app.resolve_time(due_date, due_time_zone, zone, here.begin)"
        " OR start_at IS DISTINCT FROM app.resolve_time(start_date, due_time_zone, zone, here.begin))"
    ),
    **{
        f"positions of {table.name} are unique": (
            f"SELECT position FROM {table.name} WHERE user_id = %(user)s GROUP BY position HAVING count(*) > 1"
        )
        for table in CHANGE_LOG
        if table.is_ordered
    },
}


def violations(connection: psycopg.Connection[Any], user_id: str) -> dict[str, list[Any]]:
    """Return the violations by rule. Call it while nobody writes."""
    connection.execute("SET timezone = 'UTC'")
    found = {name: list(connection.execute(query.encode(), {"user": user_id})) for name, query in RULES.items()}
    return {name: rows for name, rows in found.items() if rows}
