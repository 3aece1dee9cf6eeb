"""How many tasks a user has, by category, status and priority: kept, so that nobody has to count."""

from collections.abc import Mapping

from alembic import op

from todo.migrations.tables import MOST_NOTED, UNLESS_GONE_WITH_ITS_USER

NO_CATEGORY = "00000000-0000-0000-0000-000000000000"
"""Stands for "in no category" where a key cannot be null."""

_COUNT_NEW = """
        UPDATE public.task_counts SET tasks = tasks + 1
        WHERE user_id = NEW.user_id AND {new_category} status = NEW.status AND priority = NEW.priority;
        IF NOT FOUND THEN
            INSERT INTO public.task_counts AS c (user_id, {name} status, priority, tasks)
            VALUES (NEW.user_id, {value} NEW.status, NEW.priority, 1)
            ON CONFLICT (user_id, {name} status, priority) DO UPDATE SET tasks = c.tasks + 1;
        END IF;
"""
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
        {count_new}
    END IF;
    RETURN NULL;
END
$$;
"""
_WHEN_MOVED = """
DROP TRIGGER count_moved ON tasks;
CREATE TRIGGER count_moved AFTER UPDATE ON tasks FOR EACH ROW
    WHEN (OLD.status <> NEW.status OR OLD.priority <> NEW.priority OR OLD.user_id <> NEW.user_id {or_moved})
    EXECUTE FUNCTION app.{function}();
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

# A task that moves or goes is noted; one that is new is counted at once.
_COUNT_ONLY_NEW = """
CREATE OR REPLACE FUNCTION app.count_tasks() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.trashed_at IS NULL THEN
        {count_new}
    END IF;
    RETURN NULL;
END
$$;
"""
_NOTE = """
CREATE FUNCTION app.add_to_counts(noted jsonb) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place jsonb;
    more bigint;
BEGIN
    FOR place, more IN SELECT key::jsonb, value::bigint FROM jsonb_each_text(noted) WHERE value <> '0' LOOP
        UPDATE public.task_counts SET tasks = tasks + more
        WHERE user_id = place ->> 0 AND category_id = (place ->> 1)::uuid AND status = place ->> 2
            AND priority = place ->> 3;
        IF NOT FOUND AND more > 0 THEN
            INSERT INTO public.task_counts AS c (user_id, category_id, status, priority, tasks)
            VALUES (place ->> 0, (place ->> 1)::uuid, place ->> 2, place ->> 3, more)
            ON CONFLICT (user_id, category_id, status, priority) DO UPDATE SET tasks = c.tasks + more;
        END IF;
    END LOOP;
END
$$;
CREATE FUNCTION app.note_counts() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted jsonb := coalesce(nullif(current_setting('app.counts', true), ''), '{{}}');
    place text;
BEGIN
    {unless_gone}
    IF OLD.trashed_at IS NULL THEN
        place := jsonb_build_array(
            OLD.user_id, coalesce(OLD.category_id, '{no_category}'), OLD.status, OLD.priority)::text;
        noted := noted || jsonb_build_object(place, coalesce((noted ->> place)::bigint, 0) - 1);
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.trashed_at IS NULL THEN
            place := jsonb_build_array(
                NEW.user_id, coalesce(NEW.category_id, '{no_category}'), NEW.status, NEW.priority)::text;
            noted := noted || jsonb_build_object(place, coalesce((noted ->> place)::bigint, 0) + 1);
        END IF;
    END IF;
    IF length(noted::text) > {most_noted} THEN
        PERFORM app.add_to_counts(noted);
        noted := '{{}}';
    END IF;
    PERFORM set_config('app.counts', noted::text, true);
    RETURN NULL;
END
$$;
CREATE FUNCTION app.write_counts() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted CONSTANT text := nullif(current_setting('app.counts', true), '');
BEGIN
    IF noted IS NOT NULL THEN
        PERFORM set_config('app.counts', '', true);
        PERFORM app.add_to_counts(noted::jsonb);
    END IF;
    RETURN NULL;
END
$$;
DROP TRIGGER count_new ON tasks;
CREATE TRIGGER count_new AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION app.count_tasks();
CREATE TRIGGER count_lost AFTER DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION app.note_counts();
CREATE TRIGGER write_counts_of_lost AFTER DELETE ON tasks FOR EACH STATEMENT EXECUTE FUNCTION app.write_counts();
CREATE TRIGGER write_counts_of_moved AFTER UPDATE OF status, priority, user_id, category_id, trashed_at ON tasks
    FOR EACH STATEMENT EXECUTE FUNCTION app.write_counts();
"""
_STOP_NOTING = """
DROP TRIGGER write_counts_of_moved ON tasks;
DROP TRIGGER write_counts_of_lost ON tasks;
DROP TRIGGER count_lost ON tasks;
DROP TRIGGER count_new ON tasks;
DROP FUNCTION app.write_counts();
DROP FUNCTION app.note_counts();
DROP FUNCTION app.add_to_counts(jsonb);
CREATE TRIGGER count_new AFTER INSERT OR DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION app.count_tasks();
"""

_BY_CATEGORY = {
    "name": "category_id,",
    "old_category": f"category_id = coalesce(OLD.category_id, '{NO_CATEGORY}') AND",
    "new_category": f"category_id = coalesce(NEW.category_id, '{NO_CATEGORY}') AND",
    "old_alive": "AND OLD.trashed_at IS NULL",
    "new_alive": "AND NEW.trashed_at IS NULL",
    "value": f"coalesce(NEW.category_id, '{NO_CATEGORY}'),",
    "or_moved": (
        "OR OLD.category_id IS DISTINCT FROM NEW.category_id OR (OLD.trashed_at IS NULL) <> (NEW.trashed_at IS NULL)"
    ),
}


def count_by_category() -> None:
    """Count each category by itself, and nothing that is in the trash."""
    _count_at_once(_BY_CATEGORY)
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
    _count_at_once(dict.fromkeys(_BY_CATEGORY, ""))
    op.execute(_RECOUNT.format(alter="ALTER TABLE task_counts DROP COLUMN category_id", name="", group="", where=""))


# Task: T-383
def note_counts() -> None:
    """Let a statement that writes many tasks write once what they count."""
    op.execute(_COUNT_ONLY_NEW.format(count_new=_COUNT_NEW.format(**_BY_CATEGORY)))
    op.execute(_NOTE.format(unless_gone=UNLESS_GONE_WITH_ITS_USER, no_category=NO_CATEGORY, most_noted=MOST_NOTED))
    op.execute(_WHEN_MOVED.format(function="note_counts", **_BY_CATEGORY))


def stop_noting_counts() -> None:
    """Undo ``note_counts``."""
    _count_at_once(_BY_CATEGORY)
    op.execute(_STOP_NOTING)


def _count_at_once(forms: Mapping[str, str]) -> None:
    count_new = _COUNT_NEW.format(**forms)
    op.execute(_COUNT.format(unless_gone=UNLESS_GONE_WITH_ITS_USER, count_new=count_new, **forms))
    op.execute(_WHEN_MOVED.format(function="count_tasks", **forms))
