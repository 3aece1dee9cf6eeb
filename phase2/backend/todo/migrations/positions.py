"""Places in an order that the user made: the database gives them, in the writer's turn, so that no two are the same.

A position is text of digits, 15 of them or more: a number behind a decimal point. Compared as text, which an index can
do under row-level security, it has the order of the numbers, and between any two there is always a third. What is new
comes behind everything else: 500 000 000 000 000 and the revision that brought it. A move behind the last adds at most
one to the highest place and takes a revision itself, so no place is ever ahead of the counter. Each move into the same
gap takes a third of a digit or so.
"""

from alembic import op

_DIGITS = 15
_MOST_DIGITS = 1000

STAMP = "NEW.position := coalesce(NEW.position, (500000000000000 + NEW.revision)::text);"
"""What the log does to a new row: see ``define_log``."""

# The shortest number near the middle; without an end, the next whole number.
_BETWEEN = f"""
CREATE FUNCTION app.position_between(lower_one text, upper_one text) RETURNS text LANGUAGE plpgsql
    IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    low CONSTANT numeric := ('0.' || lower_one)::numeric;
    high CONSTANT numeric := ('0.' || upper_one)::numeric;
    middle numeric;
BEGIN
    IF upper_one IS NULL THEN
        RETURN lpad((left(lower_one, {_DIGITS})::bigint + 1)::text, {_DIGITS}, '0');
    ELSIF lower_one IS NULL THEN
        RETURN lpad((left(upper_one, {_DIGITS})::bigint - 1)::text, {_DIGITS}, '0');
    END IF;
    FOR digits IN {_DIGITS}..{_MOST_DIGITS} LOOP
        middle := round((low + high) * 0.5, digits);
        IF low < middle AND middle < high THEN
            RETURN substr(middle::text, 3);
        END IF;
    END LOOP;
    RAISE EXCEPTION 'no room between two places' USING ERRCODE = 'TD005';
END
$$;
"""

# Volatile, so that it sees what is there when the writer has its turn, however old the statement's own view is. What
# stands there already stays.
_BESIDE = """
CREATE FUNCTION app.position_in_{table}(owner text, moved uuid, neighbour uuid, is_behind boolean) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    here text COLLATE "C" := (SELECT position FROM public.{table} WHERE user_id = owner AND id = moved);
    edge text COLLATE "C" := (
        SELECT position FROM public.{table} WHERE user_id = owner AND id = neighbour AND id <> moved
    );
    lower_one text COLLATE "C" := CASE WHEN is_behind THEN edge END;
    upper_one text COLLATE "C" := CASE WHEN NOT is_behind THEN edge END;
BEGIN
    IF neighbour IS NOT NULL AND edge IS NULL THEN
        RAISE EXCEPTION 'there is no such place' USING ERRCODE = 'TD004';
    END IF;
    IF is_behind THEN
        SELECT position INTO upper_one FROM public.{table}
        WHERE user_id = owner AND position > coalesce(edge, '') AND id <> moved ORDER BY position LIMIT 1;
    ELSE
        SELECT position INTO lower_one FROM public.{table}
        WHERE user_id = owner AND position < coalesce(edge, 'x') AND id <> moved ORDER BY position DESC LIMIT 1;
    END IF;
    IF coalesce(lower_one < here, true) AND coalesce(here < upper_one, true) THEN
        RETURN here;
    END IF;
    RETURN app.position_between(lower_one, upper_one);
END
$$;
"""

# An undo brings back a place that somebody else may have by now: then it is the next one. It fires before the log's
# trigger, by its name.
_APART = """
CREATE FUNCTION app.keep_apart_{table}() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM public.{table} WHERE user_id = NEW.user_id AND position = NEW.position AND id <> NEW.id
    ) THEN
        NEW.position := app.position_between(NEW.position, (
            SELECT min(position) FROM public.{table}
            WHERE user_id = NEW.user_id AND position > NEW.position AND id <> NEW.id
        ));
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_apart BEFORE INSERT ON {table} FOR EACH ROW
    WHEN (NEW.position IS NOT NULL) EXECUTE FUNCTION app.keep_apart_{table}();
CREATE TRIGGER keep_moved_apart BEFORE UPDATE ON {table} FOR EACH ROW
    WHEN (NEW.position <> OLD.position) EXECUTE FUNCTION app.keep_apart_{table}();
"""


# Task: T-333
def make_order() -> None:
    """Make what all ordered tables share. Once, before the first of them."""
    op.execute(_BETWEEN)


def drop_order() -> None:
    """Undo ``make_order``, when no table has an order any more."""
    op.execute("DROP FUNCTION app.position_between(text, text)")


# Task: T-333
def make_positions(table: str) -> None:
    """Keep the places of ``table``, which has a ``position`` and an index on user_id and position.

    ``app.position_in_<table>(owner, moved, neighbour, is_behind)`` is where ``moved`` has to stand to be right behind
    ``neighbour``, or right before it; without a neighbour, first (behind nothing) or last. Ask it in the UPDATE that
    moves.
    """
    op.execute(_BESIDE.format(table=table))
    op.execute(_APART.format(table=table))


def drop_positions(table: str) -> None:
    """Undo ``make_positions``."""
    for trigger in ("keep_apart", "keep_moved_apart"):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    op.execute(f"DROP FUNCTION app.keep_apart_{table}()")
    op.execute(f"DROP FUNCTION app.position_in_{table}(text, uuid, uuid, boolean)")
