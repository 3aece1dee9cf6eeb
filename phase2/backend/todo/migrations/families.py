"""What lies under what: depth, circles, progress, and that nothing lives under what is in the trash."""

from alembic import op

from todo.migrations.tables import UNLESS_GONE_WITH_ITS_USER

MOST_LEVELS = 5
"""A task at the top is the first level."""

# When the statement is done: what repeats a creation and does nothing is not refused. The writer has its turn: nobody
# else moves the user's tasks meanwhile. A parent that is not there is the foreign key's matter.
_CHECK = """
CREATE FUNCTION app.check_family() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    above uuid := NEW.parent_id;
    below uuid[] := ARRAY[NEW.id];
    levels integer := 1;
BEGIN
    WHILE above IS NOT NULL AND levels <= {most_levels} LOOP
        IF above = NEW.id THEN
            RAISE EXCEPTION 'a task would lie under itself' USING ERRCODE = 'TD001';
        END IF;
        levels := levels + 1;
        above := (SELECT parent_id FROM public.tasks WHERE user_id = NEW.user_id AND id = above);
    END LOOP;
    WHILE levels <= {most_levels} LOOP
        below := ARRAY(SELECT id FROM public.tasks WHERE user_id = NEW.user_id AND parent_id = ANY(below));
        EXIT WHEN cardinality(below) = 0;
        levels := levels + 1;
    END LOOP;
    IF levels > {most_levels} THEN
        RAISE EXCEPTION 'too many levels' USING ERRCODE = 'TD002';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER check_family AFTER INSERT ON tasks FOR EACH ROW
    WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION app.check_family();
CREATE TRIGGER check_moved_family AFTER UPDATE ON tasks FOR EACH ROW
    WHEN (NEW.parent_id IS NOT NULL AND NEW.parent_id IS DISTINCT FROM OLD.parent_id)
    EXECUTE FUNCTION app.check_family();
"""

# When the statement is done, in whatever order it went through its rows.
_ALIVE = """
CREATE FUNCTION app.check_alive() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.trashed_at IS NULL AND NEW.parent_id IS NOT NULL AND EXISTS (
        SELECT FROM public.tasks WHERE user_id = NEW.user_id AND id = NEW.parent_id AND trashed_at IS NOT NULL
    ) OR NEW.trashed_at IS NOT NULL AND EXISTS (
        SELECT FROM public.tasks WHERE user_id = NEW.user_id AND parent_id = NEW.id AND trashed_at IS NULL
    ) THEN
        RAISE EXCEPTION 'a task would live under one in the trash' USING ERRCODE = 'TD003';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER check_alive AFTER INSERT ON tasks FOR EACH ROW
    WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION app.check_alive();
CREATE TRIGGER check_still_alive AFTER UPDATE ON tasks FOR EACH ROW
    WHEN (NEW.trashed_at IS DISTINCT FROM OLD.trashed_at OR NEW.parent_id IS DISTINCT FROM OLD.parent_id)
    EXECUTE FUNCTION app.check_alive();
"""

# The parent's own change, with a revision of its own: whoever holds the parent learns of it. What is in the trash does
# not count.
_PROGRESS = """
CREATE FUNCTION app.count_subtasks() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was_under CONSTANT uuid := CASE WHEN OLD.trashed_at IS NULL THEN OLD.parent_id END;
    is_under CONSTANT uuid := CASE WHEN NEW.trashed_at IS NULL THEN NEW.parent_id END;
    was_done CONSTANT integer := (OLD.status = 'completed')::integer;
    is_done CONSTANT integer := (NEW.status = 'completed')::integer;
    at CONSTANT timestamptz := coalesce(NEW.updated_at, now());
BEGIN
    {unless_gone}
    IF was_under = is_under THEN
        UPDATE public.tasks
        SET subtasks_completed = subtasks_completed - was_done + is_done, updated_at = greatest(updated_at, at)
        WHERE user_id = NEW.user_id AND id = is_under;
        RETURN NULL;
    END IF;
    IF was_under IS NOT NULL THEN
        UPDATE public.tasks
        SET subtasks_total = subtasks_total - 1, subtasks_completed = subtasks_completed - was_done,
            updated_at = greatest(updated_at, at)
        WHERE user_id = OLD.user_id AND id = was_under;
    END IF;
    IF is_under IS NOT NULL THEN
        UPDATE public.tasks
        SET subtasks_total = subtasks_total + 1, subtasks_completed = subtasks_completed + is_done,
            updated_at = greatest(updated_at, at)
        WHERE user_id = NEW.user_id AND id = is_under;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_subtask AFTER INSERT ON tasks FOR EACH ROW
    WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION app.count_subtasks();
CREATE TRIGGER count_lost_subtask AFTER DELETE ON tasks FOR EACH ROW
    WHEN (OLD.parent_id IS NOT NULL) EXECUTE FUNCTION app.count_subtasks();
CREATE TRIGGER count_changed_subtask AFTER UPDATE ON tasks FOR EACH ROW
    WHEN ((NEW.parent_id IS NOT NULL OR OLD.parent_id IS NOT NULL) AND (
        NEW.parent_id IS DISTINCT FROM OLD.parent_id OR (NEW.trashed_at IS NULL) <> (OLD.trashed_at IS NULL)
        OR (NEW.status = 'completed') <> (OLD.status = 'completed')
    )) EXECUTE FUNCTION app.count_subtasks();
"""

_PARTS = (_CHECK, _ALIVE, _PROGRESS)
_TRIGGERS = (
    "check_family",
    "check_moved_family",
    "check_alive",
    "check_still_alive",
    "count_subtask",
    "count_lost_subtask",
    "count_changed_subtask",
)


# Task: T-342
def make_families() -> None:
    """Hold the rules of parents and children from now on."""
    for part in _PARTS:
        op.execute(part.format(most_levels=MOST_LEVELS, unless_gone=UNLESS_GONE_WITH_ITS_USER))


def drop_families() -> None:
    """Undo ``make_families``, before its columns go."""
    for trigger in _TRIGGERS:
        op.execute(f"DROP TRIGGER {trigger} ON tasks")
    for function in ("check_family", "check_alive", "count_subtasks"):
        op.execute(f"DROP FUNCTION app.{function}()")
