-- Fixed planner statistics for some columns, because the real ones mislead the planner. A plan is made once for all
-- users. Most users have few tasks, so for the average user any index that begins with user_id looks as good as the
-- primary key: the plan reads all rows of the user. For a user with many tasks, it does so for each task that a word or
-- a tag found. So these statistics say that one user has 10,000 tasks, changes and tags and 100,000 words, that a
-- twentieth of the tasks is in one category or has one tag, and that a hundredth of the words is the same word.
--
-- Measured for a user with 30,000 tasks among 21,000 users with 3 each (specs/003-speed/plan.md, D8), CPU with the real
-- statistics and with these: a batch of 20 updates 51.9 and 12.7 ms (among 8,000 users), a search for two words 98.7
-- and 2.9 ms. Users with few tasks pay the same or less.
--
-- PostgreSQL 18 accepts the statistics themselves (pg_restore_attribute_stats), and SET STATISTICS 0 keeps ANALYZE from
-- replacing them. Older versions accept only n_distinct, which takes effect at the next ANALYZE. Executed by every
-- `todo migrate`: a dump contains n_distinct and SET STATISTICS 0, but not the statistics.
-- Task: T-212

DO $$
DECLARE
    takes_statistics CONSTANT boolean := to_regproc('pg_restore_attribute_stats') IS NOT NULL;
    average_width CONSTANT integer := 20;
    pin record;
    empty_index name;
    new_tables text[] := '{}';
    new_table text;
BEGIN
    -- n_distinct: how many values the column has; a negative number is a fraction of the rows. An initial value
    -- replaces the default of 200 values in a table that was never analyzed; the first ANALYZE replaces it in turn.
    FOR pin IN
        SELECT p.*, c.reltuples, a.attoptions
        FROM (VALUES
            ('tasks', 'user_id', '-0.0001', 0, false),
            ('tasks', 'category_id', '10', 0.5, false),
            ('changes', 'user_id', '-0.0001', 0, false),
            ('task_tags', 'user_id', '-0.0001', 0, false),
            ('task_tags', 'tag_key', '20', 0, false),
            ('task_words', 'user_id', '-1e-05', 0, false),
            ('task_words', 'word', '100', 0, false),
            ('tasks', 'id', '-1', 0, true),
            ('tasks', 'status', '4', 0, true),
            ('tasks', 'due_at', '-0.5', 0.5, true),
            ('tasks', 'trashed_at', '-0.05', 0.95, true)
        ) AS p (table_name, column_name, n_distinct, null_frac, is_initial)
        JOIN pg_class AS c ON c.oid = format('public.%I', p.table_name)::regclass
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = p.column_name
    LOOP
        IF NOT pin.is_initial AND pin.attoptions IS DISTINCT FROM ARRAY['n_distinct=' || pin.n_distinct] THEN
            EXECUTE format('ALTER TABLE public.%I ALTER COLUMN %I SET (n_distinct = %s)',
                           pin.table_name, pin.column_name, pin.n_distinct);
            new_tables := new_tables || pin.table_name;
        END IF;
        CONTINUE WHEN NOT takes_statistics OR pin.is_initial AND pin.reltuples >= 0;
        IF NOT pin.is_initial THEN
            EXECUTE format('ALTER TABLE public.%I ALTER COLUMN %I SET STATISTICS 0', pin.table_name, pin.column_name);
        END IF;
        PERFORM pg_clear_attribute_stats('public', pin.table_name, pin.column_name, false);
        IF NOT pg_restore_attribute_stats(
            'schemaname', 'public', 'relname', pin.table_name, 'attname', pin.column_name, 'inherited', false,
            'null_frac', pin.null_frac::real, 'avg_width', average_width, 'n_distinct', pin.n_distinct::real
        ) THEN
            RAISE EXCEPTION 'the statistics of %.% cannot be set', pin.table_name, pin.column_name;
        END IF;
    END LOOP;
    -- The statistics of an index on a table that was empty say that the index is empty: the planner assumes one page,
    -- and every other index looks more expensive. Without them, it uses the real size until the first ANALYZE.
    IF takes_statistics THEN
        FOR empty_index IN
            SELECT i.relname FROM pg_index
            JOIN pg_class AS i ON i.oid = indexrelid JOIN pg_class AS t ON t.oid = indrelid
            WHERE t.oid IN ('public.tasks'::regclass, 'public.changes'::regclass, 'public.task_tags'::regclass,
                            'public.task_words'::regclass) AND t.reltuples < 0 AND i.reltuples >= 0
        LOOP
            PERFORM pg_clear_relation_stats('public', empty_index::text);
        END LOOP;
    END IF;
    -- An empty table is not analyzed: the planner would assume that it stays empty.
    FOREACH new_table IN ARRAY ARRAY(SELECT DISTINCT name FROM unnest(new_tables) AS name ORDER BY name) LOOP
        IF pg_relation_size(format('public.%I', new_table)::regclass) > 0 THEN
            EXECUTE format('ANALYZE public.%I', new_table);
        END IF;
    END LOOP;
END
$$;
