"""How many tasks a user has, by category, status and priority: kept, so that nobody has to count."""

from alembic import op

from todo.migrations.tables import UNLESS_GONE_WITH_ITS_USER

NO_CATEGORY = "00000000-0000-0000-0000-000000000000"
"""Stands for "in no category" where a key cannot be null."""

_COUNT = """
CREATE OR REPLACE FUNCTION app.count_tasks() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    {unless_gone}
    IF TG_OP <> 'INSERT' THEN
        UPDATE public.task_counts SET tasks = tasks - 1
        WHERE user_id = OLD.user_id AND {old_category} status = OLD.status AND priority = OLD.priority
            {old_alive};
    END IF;
    IF TG_OP <> 'DELETE' {new_alive} THEN
        UPDATE public.task_counts SET tasks = tasks + 1
        WHERE user_id = NEW.user_id AND {new_category} status = NEW.status AND priority = NEW.priority;
        IF NOT FOUND THEN
            INSERT INTO public.task_counts AS c (user_id, {name} status, priority, tasks)
            VALUES (NEW.user_id, {value} NEW.status, NEW.priority, 1)
            ON CONFLICT (user_id, {name} status, priority) DO UPDATE SET tasks = c.tasks + 1;
        END IF;
    END IF;
    RETURN NULL;
END
$$;
DROP TRIGGER count_moved ON tasks;
CREATE TRIGGER count_moved AFTER UPDATE ON tasks FOR EACH ROW
    WHEN (OLD.status <> NEW.status OR OLD.priority <> NEW.priority OR OLD.user_id <> NEW.user_id {or_moved})
    EXECUTE FUNCTION app.count_tasks();
"""
_RECOUNT = """
ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY;
ALTER TABLE task_counts NO FORCE ROW LEVEL SECURITY;
DELETE FROM task_counts;
ALTER TABLE task_counts DROP CONSTRAINT pk_task_counts;
{alter};
ALTER TABLE task_counts ADD CONSTRAINT pk_task_counts PRIMARY KEY (user_id, {name} status, priority);
INSERT INTO task_counts (user_id, {name} status, priority, tasks)
    SELECT user_id, {group} status, priority, count(*) FROM tasks {where} GROUP BY user_id, {group} status, priority;
ALTER TABLE tasks FORCE ROW LEVEL SECURITY;
ALTER TABLE task_counts FORCE ROW LEVEL SECURITY;
"""


def count_by_category() -> None:
    """Count each category by itself, and nothing that is in the trash."""
    op.execute(
        _COUNT.format(
            unless_gone=UNLESS_GONE_WITH_ITS_USER,
            name="category_id,",
            old_category=f"category_id = coalesce(OLD.category_id, '{NO_CATEGORY}') AND",
            new_category=f"category_id = coalesce(NEW.category_id, '{NO_CATEGORY}') AND",
            old_alive="AND OLD.trashed_at IS NULL",
            new_alive="AND NEW.trashed_at IS NULL",
            value=f"coalesce(NEW.category_id, '{NO_CATEGORY}'),",
            or_moved=(
                "OR OLD.category_id IS DISTINCT FROM NEW.category_id"
                " OR (OLD.trashed_at IS NULL) <> (NEW.trashed_at IS NULL)"
            ),
        )
    )
    op.execute(
        _RECOUNT.format(
            alter=f"ALTER TABLE task_counts ADD COLUMN category_id uuid NOT NULL DEFAULT '{NO_CATEGORY}'",
            name="category_id,",
            group=f"coalesce(category_id, '{NO_CATEGORY}'),",
            where="WHERE trashed_at IS NULL",
        )
    )
    op.execute("ALTER TABLE task_counts ALTER COLUMN category_id DROP DEFAULT")


def count_without_category() -> None:
    """Undo ``count_by_category``. The trash is counted again, since without it its tasks are alive."""
    nothing = dict.fromkeys(("name", "old_category", "new_category", "old_alive", "new_alive", "value", "or_moved"), "")
    op.execute(_COUNT.format(unless_gone=UNLESS_GONE_WITH_ITS_USER, **nothing))
    op.execute(_RECOUNT.format(alter="ALTER TABLE task_counts DROP COLUMN category_id", name="", group="", where=""))
