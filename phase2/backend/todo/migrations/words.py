"""The words of tasks, kept by the database in ``task_words``: each word of a task once, with where it best stands.

``app.searchable()`` makes words of text. ``todo.kit.queries`` does the same to what users look for, step by step.
"""

from collections.abc import Mapping

from alembic import op

# Of a longer word the beginning is kept.
LONGEST = 64

# What stands between words, after folding: punctuation, symbols, emoji, spaces, whatever cannot be seen.
SEPARATORS = (
    r"\u0001-\u002f\u003a-\u0060\u007b-\u00b4\u00b6-\u00bf\u00d7\u00f7\u055a-\u055f\u0589\u058a\u05be\u05c0\u05c3\u05c6"
    r"\u05f3\u05f4\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965\u0e4f\u0e5a\u0e5b\u104a-\u104f\u1361-\u1368"
    r"\u17d4-\u17da\u2000-\u206f\u20a0-\u20cf\u2190-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030\u303d\u30a0"
    r"\u30fb\ufe00-\ufe1f\ufe30-\ufe6f\ufeff\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0-\uffff"
    r"\U0001f000-\U0001faff\U000e0000-\U000e0fff"
)
# Scripts that put nothing between words: each character counts as one.
SINGLES = (
    r"\u0e00-\u0e4e\u0e50-\u0e59\u0e81-\u0eff\u1000-\u1049\u1050-\u109f\u1780-\u17d3\u17db-\u17ff\u3005-\u3007"
    r"\u3031-\u303c\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)

# Folded words in their order, a space before and after each. Capitals, letters with a mark, and other forms of the same
# character count as the plain ones. PostgreSQL 17 lowers all alphabets whatever the database's locale; before it, the
# locale does.
_SEARCHABLE = """
CREATE FUNCTION app.searchable(original text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    folded text COLLATE "C";
BEGIN
    IF octet_length(original) = char_length(original) THEN
        RETURN ' ' || regexp_replace(lower(original COLLATE "C"), '[^a-z0-9]+', ' ', 'g') || ' ';
    END IF;
    folded := lower(normalize(original, NFKD){lowering});
    folded := translate(regexp_replace(folded, '[\\u0300-\\u036f]+', '', 'g'), '{from_letters}', '{to_letters}');
    folded := regexp_replace(replace(folded, 'ß', 'ss'), '[{singles}]', ' \\& ', 'g');
    RETURN ' ' || regexp_replace(folded, '[{separators}]+', ' ', 'g') || ' ';
END
$$;
"""

# Of each of a JSON array's texts, with something between them that no phrase goes across.
_SEARCHABLE_ARRAY = """
CREATE FUNCTION app.searchable(originals jsonb) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(app.searchable(original), '|') FROM jsonb_array_elements_text(originals) AS original
$$;
"""

# One letter for one: what Unicode does not take apart.
FROM_LETTERS = "ςłøđħı"
TO_LETTERS = "σlodhi"  # noqa: RUF001

# Only what changed is touched. As for the log: a row that goes with its user has nobody left to look for it, and
# whoever deletes users may have no right to look at the words.
_KEEP = """
CREATE OR REPLACE FUNCTION app.keep_words() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.task_words (user_id, task_id, word, weight, created_at)
        SELECT NEW.user_id, NEW.id, word, weight, NEW.created_at FROM ({words}) AS words;
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' THEN
        IF coalesce(current_setting('app.user', true), '') = '' THEN
            IF NOT EXISTS (SELECT FROM public."user" WHERE id = OLD.user_id) THEN
                RETURN NULL;
            END IF;
        END IF;
        DELETE FROM public.task_words WHERE user_id = OLD.user_id AND task_id = OLD.id;
        RETURN NULL;
    END IF;
    WITH words AS MATERIALIZED ({words}), gone AS (
        DELETE FROM public.task_words WHERE user_id = OLD.user_id AND task_id = OLD.id
        AND (NEW.user_id <> OLD.user_id OR NEW.id <> OLD.id OR word NOT IN (SELECT word FROM words))
    )
    INSERT INTO public.task_words (user_id, task_id, word, weight, created_at)
    SELECT NEW.user_id, NEW.id, word, weight, NEW.created_at FROM words WHERE NOT EXISTS (
        SELECT FROM public.task_words AS kept WHERE user_id = NEW.user_id AND task_id = NEW.id
        AND kept.word = words.word AND kept.weight = words.weight AND created_at = NEW.created_at
    )
    ON CONFLICT (user_id, task_id, word) DO UPDATE SET weight = excluded.weight, created_at = excluded.created_at;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER words_new AFTER INSERT OR DELETE ON tasks
    FOR EACH ROW EXECUTE FUNCTION app.keep_words();
CREATE OR REPLACE TRIGGER words_changed AFTER UPDATE ON tasks FOR EACH ROW
    WHEN ((OLD.user_id, OLD.id, OLD.created_at, {old}) IS DISTINCT FROM (NEW.user_id, NEW.id, NEW.created_at, {new}))
    EXECUTE FUNCTION app.keep_words();
"""

# ``task_words`` has no foreign key: it would be checked at every word. A user's counter, which every write to a task
# makes sure of and which has one, stands for it. As the owner and as the user, as for the log.
_FORGET = """
INSERT INTO revisions (user_id, revision) SELECT DISTINCT user_id, 0 FROM tasks ON CONFLICT DO NOTHING;
CREATE FUNCTION app.forget_words() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller CONSTANT text := current_setting('app.user', true);
BEGIN
    IF NOT EXISTS (SELECT FROM public."user" WHERE id = OLD.user_id) THEN
        PERFORM set_config('app.user', extract(epoch FROM now()) || ' ' || OLD.user_id, true);
        DELETE FROM public.task_words WHERE user_id = OLD.user_id;
        PERFORM set_config('app.user', caller, true);
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION app.forget_words() FROM PUBLIC;
CREATE TRIGGER forget_words AFTER DELETE ON revisions FOR EACH ROW EXECUTE FUNCTION app.forget_words();
"""

# What is searched, by column: its text, of the row ``{0}``, and its weight. The least is the best.
_TITLE = {"title": ("{0}.title", 1)}
_TAGS = {"tags": ("(SELECT string_agg(tag, ',') FROM jsonb_array_elements_text({0}.tags) AS tag)", 2)}
_DESCRIPTION = {"description": ("{0}.description", 3)}


# Task: T-361
def make_searchable() -> None:
    """Make the functions that find the words of a text, and of an array of texts."""
    version = op.get_bind().dialect.server_version_info
    lowering = ' COLLATE "pg_c_utf8"' if version is not None and version >= (17,) else ""
    op.execute(
        _SEARCHABLE.format(
            lowering=lowering,
            from_letters=FROM_LETTERS,
            to_letters=TO_LETTERS,
            singles=SINGLES,
            separators=SEPARATORS,
        )
    )
    op.execute(_SEARCHABLE_ARRAY)


# Task: T-361
def keep_words(*, with_tags: bool) -> None:
    """Have the words of every task kept, from here on. Again, with the tags, when ``tasks`` has them."""
    searched = {**_TITLE, **(_TAGS if with_tags else {}), **_DESCRIPTION}
    op.execute(
        _KEEP.format(
            words=_words("NEW", searched),
            old=", ".join(f"OLD.{name}" for name in searched),
            new=", ".join(f"NEW.{name}" for name in searched),
        )
    )


# Task: T-361
def fill_words() -> None:
    """Find the words of the tasks that are there already, when there are no tags yet; and forget them with their user.

    Where the policies are forced on the owner, it sees no task.
    """
    words = _words("t", {**_TITLE, **_DESCRIPTION})
    op.execute(
        "INSERT INTO task_words (user_id, task_id, word, weight, created_at)"  # noqa: S608  Of constants.
        f" SELECT t.user_id, t.id, word, weight, t.created_at FROM tasks AS t, LATERAL ({words}) AS words"
    )
    op.execute(_FORGET)


def drop_words() -> None:
    """Undo all of these."""
    for trigger, table in (("words_new", "tasks"), ("words_changed", "tasks"), ("forget_words", "revisions")):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for function in ("keep_words()", "forget_words()", "searchable(jsonb)", "searchable(text)"):
        op.execute(f"DROP FUNCTION app.{function}")


def _words(row: str, searched: Mapping[str, tuple[str, int]]) -> str:
    """Return the query for the words of a row, each once, with its least weight."""
    texts = " UNION ALL ".join(
        f"SELECT string_to_table(app.searchable({text.format(row)}), ' ') AS word, {weight}::smallint AS weight"
        for text, weight in searched.values()
    )
    return (
        f"SELECT left(word, {LONGEST}) AS word, min(weight) AS weight"  # noqa: S608  Of constants.
        f" FROM ({texts}) AS parts WHERE word <> '' GROUP BY 1"
    )
