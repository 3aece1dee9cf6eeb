"""Tags, spread over a table of their own so that an index finds a tag's tasks. The task's row is the truth."""

from alembic import op

from todo.migrations.tables import UNLESS_GONE_WITH_ITS_USER

# As the policies have it, ``tags @> ...`` could not use an index. ``tag_keys`` has the same order as ``tags``.
_SPREAD = """
CREATE FUNCTION app.spread_tags() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
    op.execute(_RENAME)


def drop_tags() -> None:
    """Undo ``make_tags``, before its columns go."""
    for trigger in ("spread_tags", "spread_changed_tags", "spread_lost_tags"):
        op.execute(f"DROP TRIGGER {trigger} ON tasks")
    op.execute("DROP FUNCTION app.spread_tags()")
    op.execute("DROP FUNCTION app.renamed(jsonb, jsonb, text, text, text)")
