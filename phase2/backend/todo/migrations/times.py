"""When a task is due and starts, as instants: the database resolves them, so that no writer can forget.

What a client sent is the truth (``due_date``, ``start_date``, ``due_time_zone``); the instants follow from it, from the
owner's zone and from when the owner's day starts. They serve order, "today" and reminders, and are not in the log.
"""

from alembic import op

# An all-day task is due until the last moment of its local day; a wall-clock time is pinned, or where its owner is; an
# instant is itself.
_RESOLVE = """
CREATE FUNCTION app.resolve_time(form text, pinned text, zone text, day_start time) RETURNS timestamptz
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF form IS NULL THEN
        RETURN NULL;
    ELSIF length(form) = 10 THEN
        RETURN app.day_end(form::date, zone, day_start);
    ELSIF right(form, 1) = 'Z' THEN
        RETURN form::timestamptz;
    END IF;
    RETURN app.resolve_local(form::timestamp, coalesce(pinned, zone));
END
$$;
CREATE FUNCTION app.resolve_times() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' AS $$
DECLARE
    zone text := 'UTC';
    day_start time := '00:00';
BEGIN
    SELECT p.time_zone, p.day_start INTO zone, day_start FROM public.profiles AS p WHERE p.user_id = NEW.user_id;
    IF NOT FOUND THEN
        zone := 'UTC';
        day_start := '00:00';
    END IF;
    NEW.due_at := app.resolve_time(NEW.due_date, NEW.due_time_zone, zone, day_start);
    NEW.start_at := app.resolve_time(NEW.start_date, NEW.due_time_zone, zone, day_start);
    RETURN NEW;
END
$$;
CREATE TRIGGER derive_new_times BEFORE INSERT ON tasks FOR EACH ROW
    WHEN (NEW.due_date IS NOT NULL OR NEW.start_date IS NOT NULL) EXECUTE FUNCTION app.resolve_times();
CREATE TRIGGER derive_times BEFORE UPDATE ON tasks FOR EACH ROW
    WHEN (NEW.due_date IS DISTINCT FROM OLD.due_date OR NEW.start_date IS DISTINCT FROM OLD.start_date
          OR NEW.due_time_zone IS DISTINCT FROM OLD.due_time_zone
          OR NEW.due_at IS DISTINCT FROM OLD.due_at OR NEW.start_at IS DISTINCT FROM OLD.start_at
          OR NEW.status IN ('pending', 'in_progress') AND OLD.status IN ('completed', 'cancelled'))
    EXECUTE FUNCTION app.resolve_times();
"""

# Whoever moves takes along what is due where they are. What is done stays where it was done, until it is reopened.
# ``due_at`` is only touched: the trigger above says what it becomes.
_FOLLOW = """
CREATE FUNCTION app.follow_profile() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Without a caller it goes with its user, and so do the tasks.
    IF TG_OP = 'DELETE' AND coalesce(current_setting('app.user', true), '') = '' THEN
        RETURN NULL;
    END IF;
    UPDATE public.tasks SET due_at = 'infinity'
    WHERE user_id = coalesce(NEW.user_id, OLD.user_id) AND status IN ('pending', 'in_progress') AND (
        length(due_date) = 10 OR length(start_date) = 10
        OR due_time_zone IS NULL AND (right(due_date, 1) <> 'Z' OR right(start_date, 1) <> 'Z')
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER follow_new_profile AFTER INSERT ON profiles FOR EACH ROW
    WHEN (NEW.time_zone <> 'UTC' OR NEW.day_start <> '00:00') EXECUTE FUNCTION app.follow_profile();
CREATE TRIGGER follow_profile AFTER UPDATE ON profiles FOR EACH ROW
    WHEN (NEW.time_zone <> OLD.time_zone OR NEW.day_start <> OLD.day_start) EXECUTE FUNCTION app.follow_profile();
CREATE TRIGGER follow_lost_profile AFTER DELETE ON profiles FOR EACH ROW EXECUTE FUNCTION app.follow_profile();
"""


# Task: T-311
def make_times() -> None:
    """Resolve what is written from now on, and again when its owner moves."""
    op.execute(_RESOLVE)
    op.execute(_FOLLOW)


def drop_times() -> None:
    """Undo ``make_times``, before its columns go."""
    for trigger in ("follow_new_profile", "follow_profile", "follow_lost_profile"):
        op.execute(f"DROP TRIGGER {trigger} ON profiles")
    for trigger in ("derive_new_times", "derive_times"):
        op.execute(f"DROP TRIGGER {trigger} ON tasks")
    for function in ("follow_profile()", "resolve_times()", "resolve_time(text, text, text, time)"):
        op.execute(f"DROP FUNCTION app.{function}")
