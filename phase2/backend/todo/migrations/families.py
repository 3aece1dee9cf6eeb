"""What lies under what: depth, circles, progress, and that nothing lives under what is in the trash."""

from alembic import op

from todo.migrations.tables import MOST_NOTED, UNLESS_GONE_WITH_ITS_USER

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
# not count. A statement that updates many tasks only notes whose children they were and are, in a setting that ends
# with the transaction; each of these parents is counted, and changes, once.
_PROGRESS = """
CREATE FUNCTION app.count_subtask() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    child CONSTANT public.tasks := CASE TG_OP WHEN 'INSERT' THEN NEW ELSE OLD END;
    one CONSTANT integer := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
    {unless_gone}
    UPDATE public.tasks
    SET subtasks_total = subtasks_total + one,
        subtasks_completed = subtasks_completed + one * (child.status = 'completed')::integer,
        updated_at = greatest(updated_at, CASE TG_OP WHEN 'INSERT' THEN child.updated_at ELSE now() END)
    WHERE user_id = child.user_id AND id = child.parent_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_subtask AFTER INSERT ON tasks FOR EACH ROW
    WHEN (NEW.parent_id IS NOT NULL AND NEW.trashed_at IS NULL) EXECUTE FUNCTION app.count_subtask();
CREATE TRIGGER count_lost_subtask AFTER DELETE ON tasks FOR EACH ROW
    WHEN (OLD.parent_id IS NOT NULL AND OLD.trashed_at IS NULL) EXECUTE FUNCTION app.count_subtask();
"""
_NOTE = """
CREATE OR REPLACE FUNCTION app.note_parents() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted jsonb := coalesce(nullif(current_setting('app.parents', true), ''), '{{}}');
    parent uuid;
BEGIN
    FOREACH parent IN ARRAY array_remove(ARRAY[OLD.parent_id, NEW.parent_id], NULL) LOOP
        noted := noted || jsonb_build_object(parent, jsonb_build_array(NEW.user_id, NEW.updated_at));
    END LOOP;
    {keep}
    RETURN NULL;
END
$$;
"""
_KEEP = "PERFORM set_config('app.parents', noted::text, true);"
_COUNT_NOTED = """
    FOR parent, note IN SELECT key, value FROM jsonb_each(noted) LOOP
        UPDATE public.tasks AS p
        SET (subtasks_total, subtasks_completed) = (
                SELECT count(*), count(*) FILTER (WHERE status = 'completed') FROM public.tasks AS child
                WHERE child.user_id = p.user_id AND child.parent_id = p.id AND child.trashed_at IS NULL
            ),
            updated_at = greatest(updated_at, (note ->> 1)::timestamptz)
        WHERE user_id = note ->> 0 AND id = parent;
    END LOOP;
"""
_COUNT_WHEN_DONE = f"""
CREATE OR REPLACE FUNCTION app.count_noted_parents() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted CONSTANT jsonb := nullif(current_setting('app.parents', true), '');
    parent uuid;
    note jsonb;
BEGIN
    IF noted IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('app.parents', '', true);
    {_COUNT_NOTED}
    RETURN NULL;
END
$$;
"""
_NOTE_TRIGGERS = """
CREATE TRIGGER note_parents AFTER UPDATE ON tasks FOR EACH ROW
    WHEN ((NEW.parent_id IS NOT NULL OR OLD.parent_id IS NOT NULL) AND (
        NEW.parent_id IS DISTINCT FROM OLD.parent_id OR (NEW.trashed_at IS NULL) <> (OLD.trashed_at IS NULL)
        OR (NEW.status = 'completed') <> (OLD.status = 'completed')
    )) EXECUTE FUNCTION app.note_parents();
CREATE TRIGGER count_noted_parents AFTER UPDATE OF parent_id, trashed_at, status ON tasks
    FOR EACH STATEMENT EXECUTE FUNCTION app.count_noted_parents();
"""

# A parent that is noted again is counted again, which is no change.
_KEEP_SHORT = f"""
    IF length(noted::text) > {MOST_NOTED} THEN
        PERFORM set_config('app.parents', '', true);
        PERFORM app.count_parents(noted);
    ELSE
        {_KEEP}
    END IF;
"""
_COUNT_EARLIER = f"""
CREATE FUNCTION app.count_parents(noted jsonb) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent uuid;
    note jsonb;
BEGIN
    {_COUNT_NOTED}
END
$$;
CREATE OR REPLACE FUNCTION app.count_noted_parents() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted CONSTANT text := nullif(current_setting('app.parents', true), '');
BEGIN
    IF noted IS NOT NULL THEN
        PERFORM set_config('app.parents', '', true);
        PERFORM app.count_parents(noted::jsonb);
    END IF;
    RETURN NULL;
END
$$;
"""

_PARTS = (_CHECK, _ALIVE, _PROGRESS)
_TRIGGERS = (
    "check_family",
    "check_moved_family",
    "check_alive",
    "check_still_alive",
    "count_subtask",
    "count_lost_subtask",
    "note_parents",
    "count_noted_parents",
)


# Task: T-342
def make_families() -> None:
    """Hold the rules of parents and children from now on."""
    for part in _PARTS:
        op.execute(part.format(most_levels=MOST_LEVELS, unless_gone=UNLESS_GONE_WITH_ITS_USER))
    _count_when_done()
    op.execute(_NOTE_TRIGGERS)


def drop_families() -> None:
    """Undo ``make_families``, before its columns go."""
    for trigger in _TRIGGERS:
        op.execute(f"DROP TRIGGER {trigger} ON tasks")
    for function in ("check_family", "check_alive", "count_subtask", "note_parents", "count_noted_parents"):
        op.execute(f"DROP FUNCTION app.{function}()")


# Task: T-383
def shorten_notes_of_parents() -> None:
    """Let a statement that goes through very many families count some of them before it is done."""
    op.execute(_COUNT_EARLIER)
    op.execute(_NOTE.format(keep=_KEEP_SHORT))


def stop_shortening_notes_of_parents() -> None:
    """Undo ``shorten_notes_of_parents``."""
    _count_when_done()
    op.execute("DROP FUNCTION app.count_parents(jsonb)")


def _count_when_done() -> None:
    op.execute(_NOTE.format(keep=_KEEP))
    op.execute(_COUNT_WHEN_DONE)
