-- Returns the words of a text in their order, normalized, with a space before and after each. Capital letters, letters
-- with diacritics and other forms of a character become the plain ones. todo/kit/queries.py does the same to the texts
-- that users search for; the tests compare the two. The generated column tasks.title_key and the rows of task_words
-- depend on this function, and are not computed again when this file changes: a migration has to do that.
-- Task: T-361
CREATE OR REPLACE FUNCTION app.normalize_for_search(original text) RETURNS text LANGUAGE plpgsql
    IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    folded text COLLATE "C";
BEGIN
    IF octet_length(original) = char_length(original) THEN
        RETURN ' ' || regexp_replace(lower(original COLLATE "C"), '[^a-z0-9]+', ' ', 'g') || ' ';
    END IF;
    folded := normalize(original, NFKD);
    -- Since PostgreSQL 17, all alphabets become lower case in every locale. In older versions, the locale decides.
    IF current_setting('server_version_num')::integer >= 170000 THEN
        folded := lower(folded COLLATE "pg_c_utf8");
    ELSE
        folded := lower(folded COLLATE "default");
    END IF;
    -- Letters that Unicode does not decompose.
    folded := translate(regexp_replace(folded, '[\u0300-\u036f]+', '', 'g'), 'ςłøđħı', 'σlodhi');
    -- Scripts without spaces between words: each character counts as a word.
    folded := regexp_replace(replace(folded, 'ß', 'ss'),
        '[\u0e00-\u0e4e\u0e50-\u0e59\u0e81-\u0eff\u1000-\u1049\u1050-\u109f\u1780-\u17d3\u17db-\u17ff'
        '\u3005-\u3007\u3031-\u303c\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff'
        '\uf900-\ufaff\U00020000-\U0003ffff]', ' \& ', 'g');
    -- Characters between words: punctuation, symbols, emoji, spaces, and all invisible characters.
    RETURN ' ' || regexp_replace(folded,
        '[\u0001-\u002f\u003a-\u0060\u007b-\u00b4\u00b6-\u00bf\u00d7\u00f7\u055a-\u055f\u0589\u058a\u05be\u05c0'
        '\u05c3\u05c6\u05f3\u05f4\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965\u0e4f\u0e5a\u0e5b\u104a-\u104f'
        '\u1361-\u1368\u17d4-\u17da\u2000-\u206f\u20a0-\u20cf\u2190-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020'
        '\u3030\u303d\u30a0\u30fb\ufe00-\ufe1f\ufe30-\ufe6f\ufeff\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40'
        '\uff5b-\uff65\uffe0-\uffff\U0001f000-\U0001faff\U000e0000-\U000e0fff]+', ' ', 'g') || ' ';
END
$$;
