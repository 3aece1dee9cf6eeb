"""What one statement does to very many tasks costs each of them the same, however many they are.

A row that one transaction updates again and again leaves a version behind each time, and whoever looks for it by its
key goes through all of them. So the user's counter is found where this transaction has left it, and what is counted is
noted while a statement goes through its rows, and written when it is done.
"""

from alembic import op

from todo.migrations.counts import NO_CATEGORY
from todo.migrations.tables import UNLESS_GONE_WITH_ITS_USER

# Another version of the row, or another's row, is not there: then it is looked for by its key.
_NEXT_REVISION = """
CREATE OR REPLACE FUNCTION app.next_revision(owner text) RETURNS bigint LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place tid := nullif(current_setting('app.counter', true), '')::tid;
    next_one bigint;
BEGIN
    IF place IS NOT NULL THEN
        UPDATE public.revisions SET revision = revision + 1 WHERE ctid = place AND user_id = owner
            RETURNING revision, ctid INTO next_one, place;
    END IF;
    IF next_one IS NULL THEN
        UPDATE public.revisions SET revision = revision + 1 WHERE user_id = owner
            RETURNING revision, ctid INTO next_one, place;
    END IF;
    IF next_one IS NULL THEN
        INSERT INTO public.revisions AS r (user_id, revision) VALUES (owner, 1)
            ON CONFLICT (user_id) DO UPDATE SET revision = r.revision + 1
            RETURNING revision, ctid INTO next_one, place;
    END IF;
    PERFORM set_config('app.counter', place::text, true);
    RETURN next_one;
END
$$;
"""
_LOOKED_UP = """
CREATE OR REPLACE FUNCTION app.next_revision(owner text) RETURNS bigint LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next_one bigint;
BEGIN
    UPDATE public.revisions SET revision = revision + 1 WHERE user_id = owner RETURNING revision INTO next_one;
    IF NOT FOUND THEN
        INSERT INTO public.revisions AS r (user_id, revision) VALUES (owner, 1)
            ON CONFLICT (user_id) DO UPDATE SET revision = r.revision + 1 RETURNING revision INTO next_one;
    END IF;
    RETURN next_one;
END
$$;
"""

# Notes are settings that end with the transaction. One that grows long, since a statement goes through many categories
# or parents, is written before the statement is done: its rows are all changed by then.
_MOST_NOTED = 4_000

_COUNT = """
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
DROP TRIGGER count_moved ON tasks;
CREATE TRIGGER count_new AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION app.count_tasks();
CREATE TRIGGER count_lost AFTER DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION app.note_counts();
CREATE TRIGGER count_moved AFTER UPDATE ON tasks FOR EACH ROW {when_moved} EXECUTE FUNCTION app.note_counts();
CREATE TRIGGER write_counts_of_lost AFTER DELETE ON tasks FOR EACH STATEMENT EXECUTE FUNCTION app.write_counts();
CREATE TRIGGER write_counts_of_moved AFTER UPDATE OF status, priority, user_id, category_id, trashed_at ON tasks
    FOR EACH STATEMENT EXECUTE FUNCTION app.write_counts();
"""
_COUNT_AT_ONCE = """
DROP TRIGGER write_counts_of_moved ON tasks;
DROP TRIGGER write_counts_of_lost ON tasks;
DROP TRIGGER count_lost ON tasks;
DROP TRIGGER count_moved ON tasks;
DROP TRIGGER count_new ON tasks;
DROP FUNCTION app.write_counts();
DROP FUNCTION app.note_counts();
DROP FUNCTION app.add_to_counts(jsonb);
CREATE TRIGGER count_new AFTER INSERT OR DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION app.count_tasks();
CREATE TRIGGER count_moved AFTER UPDATE ON tasks FOR EACH ROW {when_moved} EXECUTE FUNCTION app.count_tasks();
"""
_WHEN_MOVED = """
    WHEN (OLD.status <> NEW.status OR OLD.priority <> NEW.priority OR OLD.user_id <> NEW.user_id
          OR OLD.category_id IS DISTINCT FROM NEW.category_id
          OR (OLD.trashed_at IS NULL) <> (NEW.trashed_at IS NULL))
"""

# A parent that is noted again is counted again, which is no change.
_PARENTS = """
CREATE FUNCTION app.count_parents(noted jsonb) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent uuid;
    note jsonb;
BEGIN
    FOR parent, note IN SELECT key, value FROM jsonb_each(noted) LOOP
        UPDATE public.tasks AS p
        SET (subtasks_total, subtasks_completed) = (
                SELECT count(*), count(*) FILTER (WHERE status = 'completed') FROM public.tasks AS child
                WHERE child.user_id = p.user_id AND child.parent_id = p.id AND child.trashed_at IS NULL
            ),
            updated_at = greatest(updated_at, (note ->> 1)::timestamptz)
        WHERE user_id = note ->> 0 AND id = parent;
    END LOOP;
END
$$;
CREATE OR REPLACE FUNCTION app.note_parents() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted jsonb := coalesce(nullif(current_setting('app.parents', true), ''), '{{}}');
    parent uuid;
BEGIN
    FOREACH parent IN ARRAY array_remove(ARRAY[OLD.parent_id, NEW.parent_id], NULL) LOOP
        noted := noted || jsonb_build_object(parent, jsonb_build_array(NEW.user_id, NEW.updated_at));
    END LOOP;
    IF length(noted::text) > {most_noted} THEN
        PERFORM set_config('app.parents', '', true);
        PERFORM app.count_parents(noted);
    ELSE
        PERFORM set_config('app.parents', noted::text, true);
    END IF;
    RETURN NULL;
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
_PARENTS_AT_THE_END = """
CREATE OR REPLACE FUNCTION app.note_parents() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted jsonb := coalesce(nullif(current_setting('app.parents', true), ''), '{}');
    parent uuid;
BEGIN
    FOREACH parent IN ARRAY array_remove(ARRAY[OLD.parent_id, NEW.parent_id], NULL) LOOP
        noted := noted || jsonb_build_object(parent, jsonb_build_array(NEW.user_id, NEW.updated_at));
    END LOOP;
    PERFORM set_config('app.parents', noted::text, true);
    RETURN NULL;
END
$$;
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
    FOR parent, note IN SELECT key, value FROM jsonb_each(noted) LOOP
        UPDATE public.tasks AS p
        SET (subtasks_total, subtasks_completed) = (
                SELECT count(*), count(*) FILTER (WHERE status = 'completed') FROM public.tasks AS child
                WHERE child.user_id = p.user_id AND child.parent_id = p.id AND child.trashed_at IS NULL
            ),
            updated_at = greatest(updated_at, (note ->> 1)::timestamptz)
        WHERE user_id = note ->> 0 AND id = parent;
    END LOOP;
    RETURN NULL;
END
$$;
DROP FUNCTION app.count_parents(jsonb);
"""


# Task: T-383
def make_bulk() -> None:
    """Let a statement that writes many rows write what follows from them once."""
    op.execute(_NEXT_REVISION)
    op.execute(
        _COUNT.format(
            unless_gone=UNLESS_GONE_WITH_ITS_USER,
            no_category=NO_CATEGORY,
            most_noted=_MOST_NOTED,
            when_moved=_WHEN_MOVED,
        )
    )
    op.execute(_PARENTS.format(most_noted=_MOST_NOTED))


def drop_bulk() -> None:
    """Undo ``make_bulk``."""
    op.execute(_PARENTS_AT_THE_END)
    op.execute(_COUNT_AT_ONCE.format(when_moved=_WHEN_MOVED))
    op.execute(_LOOKED_UP)
