"""Tags, spread over a table of their own so that an index finds a tag's tasks. The task's row is the truth."""

from alembic import op

from todo.migrations.tables import MOST_NOTED, UNLESS_GONE_WITH_ITS_USER

# As the policies have it, ``tags @> ...`` could not use an index. ``tag_keys`` has the same order as ``tags``.
_SPREAD = """
CREATE OR REPLACE FUNCTION app.spread_tags() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    {unless_gone}
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM public.task_tags AS t
        WHERE t.user_id = OLD.user_id AND t.task_id = OLD.id
            AND t.tag_key IN (SELECT jsonb_array_elements_text(OLD.tag_keys));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO public.task_tags (user_id, tag_key, task_id, tag, created_at)
        SELECT NEW.user_id, keys.value, NEW.id, NEW.tags ->> (keys.ordinality - 1)::integer, NEW.created_at
        FROM jsonb_array_elements_text(NEW.tag_keys) WITH ORDINALITY AS keys
        WHERE NEW.trashed_at IS NULL;
    END IF;
    RETURN NULL;
END
$$;
"""

# What stays is left alone. Counted is what was really taken away and put in, so the counts are those of the rows,
# whatever happened to the task.
_SPREAD_AND_COUNT = """
CREATE OR REPLACE FUNCTION app.spread_tags() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted jsonb := coalesce(nullif(current_setting('app.tags', true), ''), '{{}}');
    place text;
BEGIN
    {unless_gone}
    IF TG_OP <> 'INSERT' THEN
        FOR place IN
            DELETE FROM public.task_tags AS t
            WHERE t.user_id = OLD.user_id AND t.task_id = OLD.id
                AND t.tag_key IN (SELECT jsonb_array_elements_text(OLD.tag_keys))
                AND NOT EXISTS (
                    SELECT FROM jsonb_array_elements_text(NEW.tag_keys) WITH ORDINALITY AS keys
                    WHERE NEW.trashed_at IS NULL AND keys.value = t.tag_key
                        AND NEW.tags ->> (keys.ordinality - 1)::integer = t.tag
                )
            RETURNING jsonb_build_array(t.user_id, t.tag_key, t.tag)
        LOOP
            noted := noted || jsonb_build_object(place, coalesce((noted ->> place)::bigint, 0) - 1);
        END LOOP;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        FOR place IN
            INSERT INTO public.task_tags AS t (user_id, tag_key, task_id, tag, created_at)
            SELECT NEW.user_id, keys.value, NEW.id, NEW.tags ->> (keys.ordinality - 1)::integer, NEW.created_at
            FROM jsonb_array_elements_text(NEW.tag_keys) WITH ORDINALITY AS keys
            WHERE NEW.trashed_at IS NULL
            ON CONFLICT (user_id, tag_key, task_id) DO NOTHING
            RETURNING jsonb_build_array(t.user_id, t.tag_key, t.tag)
        LOOP
            noted := noted || jsonb_build_object(place, coalesce((noted ->> place)::bigint, 0) + 1);
        END LOOP;
    END IF;
    IF TG_OP = 'INSERT' OR length(noted::text) > {most_noted} THEN
        PERFORM app.add_to_tag_counts(noted);
        noted := '{{}}';
    END IF;
    PERFORM set_config('app.tags', noted::text, true);
    RETURN NULL;
END
$$;
CREATE FUNCTION app.add_to_tag_counts(noted jsonb) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.tag_counts AS c (user_id, tag_key, tag, tasks)
    SELECT place ->> 0, place ->> 1, place ->> 2, more
    FROM (SELECT key::jsonb, value::bigint FROM jsonb_each_text(noted) WHERE value <> '0') AS each (place, more)
    ON CONFLICT (user_id, tag_key, tag) DO UPDATE SET tasks = c.tasks + excluded.tasks;
    DELETE FROM public.tag_counts AS c
    USING (SELECT key::jsonb FROM jsonb_each_text(noted) WHERE value::bigint < 0) AS each (place)
    WHERE c.user_id = place ->> 0 AND c.tag_key = place ->> 1 AND c.tag = place ->> 2 AND c.tasks = 0;
END
$$;
CREATE FUNCTION app.write_tag_counts() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted CONSTANT text := nullif(nullif(current_setting('app.tags', true), ''), '{{}}');
BEGIN
    IF noted IS NOT NULL THEN
        PERFORM set_config('app.tags', '', true);
        PERFORM app.add_to_tag_counts(noted::jsonb);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER write_tag_counts AFTER UPDATE OF tags, tag_keys, trashed_at ON tasks
    FOR EACH STATEMENT EXECUTE FUNCTION app.write_tag_counts();
CREATE TRIGGER write_lost_tag_counts AFTER DELETE ON tasks
    FOR EACH STATEMENT EXECUTE FUNCTION app.write_tag_counts();
"""

# Whoever owns the tables is under their policies, and would see no row.
_COUNT = """
ALTER TABLE task_tags NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tag_counts NO FORCE ROW LEVEL SECURITY;
INSERT INTO tag_counts (user_id, tag_key, tag, tasks)
    SELECT user_id, tag_key, tag, count(*) FROM task_tags GROUP BY user_id, tag_key, tag;
ALTER TABLE task_tags FORCE ROW LEVEL SECURITY;
ALTER TABLE tag_counts FORCE ROW LEVEL SECURITY;
"""

_TRIGGERS = """
CREATE TRIGGER spread_tags AFTER INSERT ON tasks FOR EACH ROW
    WHEN (NEW.tags <> '[]') EXECUTE FUNCTION app.spread_tags();
CREATE TRIGGER spread_changed_tags AFTER UPDATE ON tasks FOR EACH ROW
    WHEN (NEW.tags <> OLD.tags OR NEW.tag_keys <> OLD.tag_keys
          OR (NEW.trashed_at IS NULL) <> (OLD.trashed_at IS NULL) AND NEW.tags <> '[]')
    EXECUTE FUNCTION app.spread_tags();
CREATE TRIGGER spread_lost_tags AFTER DELETE ON tasks FOR EACH ROW
    WHEN (OLD.tags <> '[]') EXECUTE FUNCTION app.spread_tags();
"""

# ``texts`` are the tags or their keys; both go through it, one after the other. A tag that is there already under the
# new name stays, and the old one goes.
_RENAME = """
CREATE FUNCTION app.renamed(texts jsonb, keys jsonb, old_key text, new_key text, new_text text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(
        CASE WHEN key = old_key THEN to_jsonb(new_text) ELSE texts -> (place - 1)::integer END ORDER BY place
    ), '[]')
    FROM jsonb_array_elements_text(keys) WITH ORDINALITY AS each (key, place)
    WHERE key <> old_key OR new_text IS NOT NULL AND (new_key = old_key OR NOT keys ? new_key)
$$;
"""


# Task: T-341
def make_tags() -> None:
    """Keep the tags' table from now on."""
    op.execute(_SPREAD.format(unless_gone=UNLESS_GONE_WITH_ITS_USER))
    op.execute(_TRIGGERS)
    op.execute(_RENAME)


def drop_tags() -> None:
    """Undo ``make_tags``, before its columns go."""
    for trigger in ("spread_tags", "spread_changed_tags", "spread_lost_tags"):
        op.execute(f"DROP TRIGGER {trigger} ON tasks")
    op.execute("DROP FUNCTION app.spread_tags()")
    op.execute("DROP FUNCTION app.renamed(jsonb, jsonb, text, text, text)")


# Task: T-375
def count_tags() -> None:
    """Keep how many tasks have each tag, of each way to type it, from now on and of those that are there."""
    op.execute(_SPREAD_AND_COUNT.format(unless_gone=UNLESS_GONE_WITH_ITS_USER, most_noted=MOST_NOTED))
    op.execute(_COUNT)


def stop_counting_tags() -> None:
    """Undo ``count_tags``, before its table goes."""
    for trigger in ("write_lost_tag_counts", "write_tag_counts"):
        op.execute(f"DROP TRIGGER {trigger} ON tasks")
    op.execute(_SPREAD.format(unless_gone=UNLESS_GONE_WITH_ITS_USER))
    op.execute("DROP FUNCTION app.write_tag_counts()")
    op.execute("DROP FUNCTION app.add_to_tag_counts(jsonb)")
