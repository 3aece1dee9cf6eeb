"""What a series has next, kept in its row, so that completing it needs no look at its rule.

``upcoming`` is an array of steps, the open occurrence first: due date, start, number if the rule counts, and the zone
if the forms follow from where the owner is. ``todo.services.series`` works them out; here one is taken, and here they
are forgotten when something else is written that they follow from. Where nothing is kept, or nothing fits, the rule is
asked again.
"""

from alembic import op

# Says what is left of ``upcoming`` when the open occurrence was completed at an instant; NULL where the rule has to say
# it. By instants where there is a time, and by the owner's day where there is none.
_ADVANCE = """
CREATE FUNCTION app.advance(upcoming jsonb, missed text, completed timestamptz, pinned text, owner text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rest jsonb := upcoming - 0;
    form text := rest -> 0 ->> 0;
    zone text;
    day_start time;
BEGIN
    IF missed = 'keep' AND rest -> 0 ->> 3 IS NULL THEN
        RETURN nullif(rest, '[]');
    END IF;
    SELECT p.time_zone, p.day_start INTO zone, day_start FROM public.profiles AS p WHERE p.user_id = owner;
    IF NOT FOUND THEN
        zone := 'UTC';
        day_start := '00:00';
    END IF;
    IF rest -> 0 ->> 3 <> zone THEN
        RETURN NULL;
    END IF;
    WHILE missed = 'skip' AND CASE length(form)
        WHEN 10 THEN form::date <= app.local_day(completed, zone, day_start)
        ELSE app.resolve_time(form, pinned, zone, day_start) <= completed
    END LOOP
        rest := rest - 0;
        form := rest -> 0 ->> 0;
    END LOOP;
    RETURN nullif(rest, '[]');
END
$$;
"""

# A function, so that what does not repeat need not pay for an INSERT in its statement. The row is the one that the
# caller has locked. A task's new field joins here, in a migration that defines the function again.
_CLOSE = """
CREATE FUNCTION app.close_occurrence(owner text, task uuid, new_id uuid, completed timestamptz, written timestamptz)
    RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.tasks (
        user_id, id, title, description, priority, due_date, due_time_zone, start_date, category_id, tags, tag_keys,
        series_id, created_at, creation_digest, status, completed_at, updated_at, revision
    ) SELECT user_id, new_id, title, description, priority, due_date, due_time_zone, start_date, category_id, tags,
             tag_keys, series_id, created_at, creation_digest, 'completed', completed, written, 0
      FROM public.tasks WHERE user_id = owner AND id = task;
    RETURN new_id;
END
$$;
"""

# New steps differ from the old ones, since the open occurrence is among them; where they do not, nothing is lost.
_FORGET = """
CREATE FUNCTION app.forget_upcoming() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.upcoming := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER forget_upcoming BEFORE UPDATE ON tasks FOR EACH ROW
    WHEN (NEW.upcoming = OLD.upcoming AND (
        NEW.due_date IS DISTINCT FROM OLD.due_date OR NEW.due_time_zone IS DISTINCT FROM OLD.due_time_zone
        OR NEW.recurrence IS DISTINCT FROM OLD.recurrence
        OR NEW.recurrence_anchor IS DISTINCT FROM OLD.recurrence_anchor
        OR NEW.recurrence_number IS DISTINCT FROM OLD.recurrence_number
        OR NEW.recurrence_due IS DISTINCT FROM OLD.recurrence_due
        OR NEW.recurrence_start IS DISTINCT FROM OLD.recurrence_start))
    EXECUTE FUNCTION app.forget_upcoming();
"""


# Task: T-327
def make_upcoming() -> None:
    """Take steps, and forget them. The column is there, and not in the log."""
    op.execute(_ADVANCE)
    op.execute(_CLOSE)
    op.execute(_FORGET)


def drop_upcoming() -> None:
    """Undo ``make_upcoming``, before its column goes."""
    op.execute("DROP TRIGGER forget_upcoming ON tasks")
    op.execute("DROP FUNCTION app.forget_upcoming()")
    op.execute("DROP FUNCTION app.close_occurrence(text, uuid, uuid, timestamptz, timestamptz)")
    op.execute("DROP FUNCTION app.advance(jsonb, text, timestamptz, text, text)")
