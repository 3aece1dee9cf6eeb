"""The log of changes, kept by the database: a table joins with one line, and no writer can forget it.

A write takes the next number of its user's counter and appends a row to ``changes`` in the same transaction.
The counter's row stays locked until the commit, so one user's numbers have no gaps and become visible in order.
"""

from alembic import op

# Before any row is touched, take the caller's counter. Writers of one user then queue at one place; if each locked
# its rows first and the counter after, two of them could wait for each other. Plain SQL without a caller
# locks when its first row is written. Somebody's very first write makes the counter, so that it, too, can be held.
_TAKE_COUNTER = """
CREATE OR REPLACE FUNCTION app.take_counter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM public.revisions WHERE user_id = app.uid() FOR NO KEY UPDATE;
    IF NOT FOUND AND TG_OP = 'INSERT' AND app.uid() IS NOT NULL THEN
        INSERT INTO public.revisions (user_id, revision) VALUES (app.uid(), 0) ON CONFLICT (user_id) DO NOTHING;
        PERFORM FROM public.revisions WHERE user_id = app.uid() FOR NO KEY UPDATE;
    END IF;
    RETURN NULL;
END
$$;
"""

# The next number of a user's counter.
_NEXT_REVISION = """
CREATE OR REPLACE FUNCTION app.next_revision(owner text) RETURNS bigint LANGUAGE plpgsql AS $$
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

# One function per table, so that its plans are the table's own. In an UPDATE neither ``updated_at`` nor ``revision`` is a
# change by itself: a write that changes nothing else leaves the row as it was and the log silent. An INSERT
# that is about to meet its own key takes no number: it will fail, or do nothing, or become an UPDATE.
_LOG_TABLE = """
CREATE FUNCTION app.log_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    touched timestamptz;
    previous jsonb;
    next_state jsonb;
BEGIN
    IF TG_OP = 'DELETE' THEN
        -- A row that goes with its user has nobody left to tell.
        -- Two steps: nobody but an administrator, who writes without a caller, may look at the users.
        IF app.uid() IS NULL THEN
            IF NOT EXISTS (SELECT FROM public."user" WHERE id = OLD.user_id) THEN
                RETURN NULL;
            END IF;
        END IF;
        INSERT INTO public.changes (user_id, revision, entity, entity_id, operation, changed_at, state, before)
        VALUES (OLD.user_id, app.next_revision(OLD.user_id), '{entity}', OLD.id, 'delete', now(), NULL,
                to_jsonb(OLD) - 'user_id');
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        touched := NEW.updated_at;
        NEW.updated_at := OLD.updated_at;
        NEW.revision := OLD.revision;
        IF NEW IS NOT DISTINCT FROM OLD THEN
            RETURN NEW;
        END IF;
        NEW.updated_at := touched;
    ELSIF EXISTS (SELECT FROM public.{table} WHERE user_id = NEW.user_id AND id = NEW.id) THEN
        NEW.revision := 0;
        RETURN NEW;
    END IF;
    NEW.revision := app.next_revision(NEW.user_id);
    next_state := to_jsonb(NEW) - 'user_id';
    IF TG_OP = 'UPDATE' THEN
        SELECT jsonb_object_agg(was.key, was.value) INTO previous
        FROM jsonb_each(to_jsonb(OLD) - '{{user_id,revision,updated_at}}'::text[]) AS was
        WHERE next_state -> was.key IS DISTINCT FROM was.value;
    END IF;
    INSERT INTO public.changes (user_id, revision, entity, entity_id, operation, changed_at, state, before)
    VALUES (NEW.user_id, NEW.revision, '{entity}', NEW.id,
            CASE TG_OP WHEN 'INSERT' THEN 'create' ELSE 'update' END, now(), next_state, previous);
    RETURN NEW;
END
$$;
CREATE TRIGGER take_counter BEFORE INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION app.take_counter();
CREATE TRIGGER log_write BEFORE INSERT OR UPDATE ON {table}
    FOR EACH ROW EXECUTE FUNCTION app.log_{table}();
CREATE TRIGGER log_delete AFTER DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION app.log_{table}();
"""


# Task: T-111
def make_log() -> None:
    """Make what all tables share. Once, by the migration that brings the log."""
    op.execute(_TAKE_COUNTER)
    op.execute(_NEXT_REVISION)


# Task: T-111
def join_log(table: str, entity: str) -> None:
    """Have every write to ``table`` logged as ``entity``. The table has user_id, id, updated_at and revision."""
    op.execute(_LOG_TABLE.format(table=table, entity=entity))


def leave_log(table: str) -> None:
    """Undo ``join_log``."""
    for trigger in ("take_counter", "log_write", "log_delete"):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    op.execute(f"DROP FUNCTION app.log_{table}()")


def drop_log() -> None:
    """Undo ``make_log``."""
    op.execute("DROP FUNCTION app.next_revision(text)")
    op.execute("DROP FUNCTION app.take_counter()")
