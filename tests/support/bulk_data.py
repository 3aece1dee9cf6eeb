"""Add many tasks to one user quickly: by SQL without triggers, in the state that the triggers would leave."""

from uuid import UUID

import psycopg

_TASKS = """
INSERT INTO tasks (user_id, id, title, description, status, priority, due_date, due_at, category_id, tags, tag_keys,
                   parent_id, created_at, updated_at, position, revision, creation_digest)
SELECT %(user)s, uuidv7(at - now()), 'Task number ' || n, 'Oat milk, bread, and lemons for the weekend.', 'pending',
       'medium', %(due)s::text, app.resolve_time(%(due)s::text, NULL, 'UTC', '00:00'), %(category)s::uuid,
       %(tags)s::text::jsonb, lower(%(tags)s::text)::jsonb, %(parent)s::uuid, at, at, (500000000000000 + n)::text, n, ''
FROM (
    SELECT latest.revision + each AS n, now() - (%(count)s - each) * interval '1 minute' AS at
    FROM (SELECT coalesce(max(revision), 0) AS revision FROM revisions WHERE user_id = %(user)s) AS latest,
         generate_series(1, %(count)s) AS each
) AS made
"""
# The change log does not contain the added tasks. It starts with the first change after them.
_DERIVED = """
INSERT INTO revisions (user_id, revision) SELECT user_id, max(revision) FROM tasks WHERE user_id = %(user)s
GROUP BY user_id ON CONFLICT (user_id) DO UPDATE SET revision = excluded.revision;
DELETE FROM changes WHERE user_id = %(user)s;
DELETE FROM task_counts WHERE user_id = %(user)s;
INSERT INTO task_counts (user_id, category_id, status, priority, tasks)
SELECT user_id, coalesce(category_id, '00000000-0000-0000-0000-000000000000'), status, priority, count(*)
FROM tasks WHERE user_id = %(user)s AND trashed_at IS NULL GROUP BY 1, 2, 3, 4;
UPDATE tasks SET subtasks_total = %(count)s WHERE user_id = %(user)s AND id = %(parent)s;
INSERT INTO task_tags (user_id, tag_key, task_id, tag, created_at)
SELECT user_id, lower(tag), id, tag, created_at FROM tasks, jsonb_array_elements_text(tags) AS tag
WHERE user_id = %(user)s ON CONFLICT DO NOTHING;
DELETE FROM tag_counts WHERE user_id = %(user)s;
INSERT INTO tag_counts (user_id, tag_key, tag, tasks)
SELECT user_id, tag_key, tag, count(*) FROM task_tags WHERE user_id = %(user)s GROUP BY user_id, tag_key, tag;
INSERT INTO task_words (user_id, task_id, word, weight, created_at)
SELECT user_id, id, word, min(weight), created_at FROM tasks, LATERAL (
    SELECT string_to_table(app.normalize_for_search(title), ' '), 1 UNION ALL
    SELECT string_to_table(app.normalize_array_for_search(tags), ' '), 2 UNION ALL
    SELECT string_to_table(app.normalize_for_search(description), ' '), 3
) AS found (word, weight) WHERE user_id = %(user)s AND word NOT IN ('', '|')
GROUP BY user_id, id, word, created_at ON CONFLICT DO NOTHING
"""


def fill(
    database_url: str,
    user_id: str,
    count: int,
    *,
    due_date: str | None = None,
    category_id: str | None = None,
    tags: str = "[]",
    parent_id: str | None = None,
) -> None:
    """Add ``count`` open tasks that the change log does not contain. ``tags`` are JSON."""
    values = {
        "user": user_id,
        "count": count,
        "due": due_date,
        "category": category_id and UUID(category_id),
        "tags": tags,
        "parent": parent_id and UUID(parent_id),
    }
    with psycopg.connect(database_url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET timezone = 'UTC'")
        for statement in (_TASKS, *_DERIVED.split(";")):
            connection.execute(statement.encode(), values)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ANALYZE tasks, task_tags, task_words")
