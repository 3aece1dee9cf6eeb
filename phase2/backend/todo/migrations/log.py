"""The log of changes, kept by the database: a table joins by ``join_log``, and no writer can forget it.

A write takes the next number of its user's counter and appends a row to ``changes`` in the same transaction.
The counter's row stays locked until the commit, so one user's numbers have no gaps and become visible in order.
"""

from collections.abc import Sequence

from alembic import op

# Writers of one user queue here, before any row is touched: if each locked its rows first and the counter after, two of
# them could wait for each other. A plain SQL writer without a caller queues at the counter only.
_TAKE_TURN = """
CREATE FUNCTION app.take_turn() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(app.uid(), 1));
END
$$;
CREATE FUNCTION app.take_turn_to_write() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM app.take_turn();
    RETURN NULL;
END
$$;
"""

# The next number of a user's counter, which stays locked.
_NEXT_REVISION = """
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

# The counter is found where this transaction has left it: it leaves a version behind with every number, and whoever
# looks for it by its key goes through all of them. Another version of the row, or another's row, is not there: then it
# is looked for by its key.
_NEXT_REVISION_IN_PLACE = """
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

# ``updated_at`` alone makes no change, so it is not told as one.
_APPEND = """
CREATE FUNCTION app.append_change(
    owner text, revision bigint, entity text, entity_id text, operation text, state jsonb, old jsonb
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.changes (user_id, revision, entity, entity_id, operation, changed_at, state, before)
    VALUES (owner, revision, entity, entity_id, operation, now(), state, CASE operation WHEN 'update' THEN (
        SELECT jsonb_object_agg(was.key, was.value) FROM jsonb_each(old) AS was
        WHERE was.key <> 'updated_at' AND state -> was.key IS DISTINCT FROM was.value
    ) ELSE old END);
END
$$;
"""

# ``changes`` has no foreign key: it would be checked at every write. The counter's row, which every write updates and
# which has one, stands for it. As the owner and as the user, because whoever deletes users need not see the log.
_FORGET_USER = """
CREATE FUNCTION app.forget_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller CONSTANT text := current_setting('app.user', true);
BEGIN
    PERFORM set_config('app.user', extract(epoch FROM now()) || ' ' || OLD.user_id, true);
    DELETE FROM public.changes WHERE user_id = OLD.user_id;
    PERFORM set_config('app.user', caller, true);
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION app.forget_user() FROM PUBLIC;
CREATE TRIGGER forget_user AFTER DELETE ON revisions FOR EACH ROW EXECUTE FUNCTION app.forget_user();
"""

# A bite of what is too old: of the log always the oldest, so that what is left has no gaps. Users are counted, not
# named: whoever may call it learns nobody's id. As the owner and as one user after the other, since the policies are
# forced.
_PRUNE = """
CREATE FUNCTION app.prune(kept_days integer, from_user bigint, OUT removed bigint, OUT next_user bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most_rows CONSTANT bigint := 500;
    most_users CONSTANT bigint := 100;
    caller CONSTANT text := current_setting('app.user', true);
    someone text;
    last_one bigint;
    expired text[];
    gone bigint;
BEGIN
    IF kept_days < 1 THEN
        RAISE EXCEPTION 'a day is the least that is kept' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    removed := 0;
    -- One process is enough; where another is at it, there is nothing left to do.
    IF NOT pg_try_advisory_xact_lock(hashtextextended('app.prune', 2)) THEN
        RETURN;
    END IF;
    next_user := from_user;
    FOR someone IN SELECT id FROM public."user" ORDER BY id OFFSET from_user LIMIT most_users LOOP
        PERFORM set_config('app.user', extract(epoch FROM now()) || ' ' || someone, true);
        SELECT coalesce(min(revision) FILTER (WHERE changed_at >= now() - make_interval(days => kept_days)) - 1,
                        max(revision))
            INTO last_one FROM (
                SELECT revision, changed_at FROM public.changes WHERE user_id = someone
                ORDER BY revision LIMIT most_rows
            ) AS oldest;
        DELETE FROM public.changes WHERE user_id = someone AND revision <= last_one;
        GET DIAGNOSTICS gone = ROW_COUNT;
        removed := removed + gone;
        SELECT array_agg(key) INTO expired FROM (
            SELECT key FROM public.idempotency_keys
            WHERE user_id = someone AND created_at < now() - interval '24 hours'
            ORDER BY created_at LIMIT most_rows
        ) AS oldest;
        DELETE FROM public.idempotency_keys WHERE user_id = someone AND key = ANY (expired);
        GET DIAGNOSTICS gone = ROW_COUNT;
        removed := removed + gone;
        -- This one may have more: the next bite starts here again.
        EXIT WHEN removed >= most_rows;
        next_user := next_user + 1;
    END LOOP;
    PERFORM set_config('app.user', caller, true);
    IF removed < most_rows AND next_user < from_user + most_users THEN
        next_user := NULL;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION app.prune(integer, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.prune(integer, bigint) TO todo_app;
"""

# One function per table, so that its plans are the table's own. What it logs must not depend on who writes: instants
# are in UTC. In an UPDATE neither ``updated_at`` nor ``revision`` is a change by itself: a write that changes nothing
# else leaves the row as it was and the log silent. An INSERT that is about to meet its own key gives its number back:
# it will fail, or do nothing, or become an UPDATE. It looks once it has the counter, since another writer may have come
# first. A row that gets another key is gone, and another is there.
_LOG_FUNCTION = """
CREATE OR REPLACE FUNCTION app.log_{table}() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    unlogged CONSTANT text[] := '{{user_id,revision{silent}}}';
    derived CONSTANT public.{table} := NEW;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.updated_at := OLD.updated_at;
        NEW.revision := OLD.revision;
        {hide}
        IF NEW IS NOT DISTINCT FROM OLD THEN
            {show}
            RETURN NEW;
        END IF;
        {show}
        NEW.updated_at := derived.updated_at;
        IF NEW.user_id = OLD.user_id AND NEW.id = OLD.id THEN
            NEW.revision := app.next_revision(NEW.user_id);
            PERFORM app.append_change(NEW.user_id, NEW.revision, '{entity}', NEW.id::text, 'update',
                                      to_jsonb(NEW) - unlogged, to_jsonb(OLD) - unlogged);
            RETURN NEW;
        END IF;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        -- A row that goes with its user has nobody left to tell. Whoever deletes users may look at them, and has no
        -- caller; before PostgreSQL 18 this runs as that role, which may have no right to app.uid().
        IF coalesce(current_setting('app.user', true), '') = '' THEN
            IF NOT EXISTS (SELECT FROM public."user" WHERE id = OLD.user_id) THEN
                RETURN NULL;
            END IF;
        END IF;
        PERFORM app.append_change(OLD.user_id, app.next_revision(OLD.user_id), '{entity}', OLD.id::text, 'delete',
                                  NULL, to_jsonb(OLD) - unlogged);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        NEW.revision := app.next_revision(NEW.user_id);
        {stamp}
        IF EXISTS (SELECT FROM public.{table} WHERE user_id = NEW.user_id AND id = NEW.id) THEN
            UPDATE public.revisions SET revision = revision - 1 WHERE user_id = NEW.user_id;
            NEW.revision := 0;
        ELSE
            PERFORM app.append_change(NEW.user_id, NEW.revision, '{entity}', NEW.id::text, 'create',
                                      to_jsonb(NEW) - unlogged, NULL);
        END IF;
        RETURN NEW;
    END IF;
    RETURN NULL;
END
$$;
"""

_LOG_TRIGGERS = """
CREATE TRIGGER take_turn BEFORE INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION app.take_turn_to_write();
CREATE TRIGGER log_write BEFORE INSERT OR UPDATE ON {table}
    FOR EACH ROW EXECUTE FUNCTION app.log_{table}();
CREATE TRIGGER log_delete AFTER DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION app.log_{table}();
"""


# Task: T-111
def make_log() -> None:
    """Make what all tables share. Once, by the migration that brings the log, when its tables are there."""
    for part in (_TAKE_TURN, _NEXT_REVISION, _APPEND, _FORGET_USER, _PRUNE):
        op.execute(part)


# Task: T-111
def join_log(table: str, entity: str) -> None:
    """Have every write to ``table`` logged as ``entity``, a name that ``todo.services.changes`` has to know as well.

    The table has user_id, id, updated_at and revision. An INSERT that has ON CONFLICT DO NOTHING names the primary key:
    if it met another unique index, it would be in the log without having happened. What raises takes its log back.
    """
    define_log(table, entity)
    op.execute(_LOG_TRIGGERS.format(table=table))


def define_log(table: str, entity: str, *, silent: Sequence[str] = (), stamp: str = "") -> None:
    """Say anew how writes to ``table`` are logged.

    ``silent`` columns follow from the others and from elsewhere: they are not in the log, and a write to them alone is
    no change. ``stamp`` is done to a new row when it has its revision.
    """
    op.execute(
        _LOG_FUNCTION.format(
            table=table,
            entity=entity,
            silent="".join(f",{name}" for name in silent),
            hide=" ".join(f"NEW.{name} := OLD.{name};" for name in silent),
            show=" ".join(f"NEW.{name} := derived.{name};" for name in silent),
            stamp=stamp,
        )
    )


# Task: T-383
def remember_counters() -> None:
    """Have a transaction remember where its user's counter is."""
    op.execute(_NEXT_REVISION_IN_PLACE)


def look_counters_up() -> None:
    """Undo ``remember_counters``."""
    op.execute(_NEXT_REVISION)


def leave_log(table: str) -> None:
    """Undo ``join_log``."""
    for trigger in ("take_turn", "log_write", "log_delete"):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    op.execute(f"DROP FUNCTION app.log_{table}()")


def drop_log() -> None:
    """Undo ``make_log``, before its tables go."""
    op.execute("DROP TRIGGER forget_user ON revisions")
    for function in (
        "prune(integer, bigint)",
        "forget_user()",
        "append_change(text, bigint, text, text, text, jsonb, jsonb)",
        "next_revision(text)",
        "take_turn_to_write()",
        "take_turn()",
    ):
        op.execute(f"DROP FUNCTION app.{function}")
