-- Keeps the tables and columns that are derived from tasks in step with a statement that updated tasks: the counts of
-- subtasks in their parents, task_counts, and task_tags (one row per tag, so that an index finds the tasks of a tag;
-- under a policy, tags @> ... could not use one). It sees all rows of the statement, before and after, and writes each
-- parent and each counter once: a row that one transaction updates n times leaves n dead versions behind, and each
-- lookup by key visits all of them. One function does all three and first checks what changed, because most
-- statements change none of them (measured in plan 005, SQL files). Tasks in the trash are not counted and have no rows
-- in task_tags. The zero UUID stands for "no category". Hash joins are enabled for the two transition tables of the
-- trigger, which are in memory; the sessions of the application disable them for tables.
-- Task: T-210
-- Task: T-341
-- Task: T-342
-- Task: T-383
CREATE OR REPLACE FUNCTION app.sync_counts_and_tags_on_update() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET enable_hashjoin = on AS $$
DECLARE
    no_category CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    changed record;
    parent record;
    counter record;
BEGIN
    -- A row whose key was changed has no counterpart on either side.
    SELECT
        bool_or(b.parent_id IS DISTINCT FROM a.parent_id OR coalesce(b.parent_id, a.parent_id) IS NOT NULL AND (
            (b.trashed_at IS NULL) <> (a.trashed_at IS NULL)
            OR (b.status = 'completed') IS DISTINCT FROM (a.status = 'completed')
        )) AS parents,
        bool_or(b.status IS DISTINCT FROM a.status OR b.priority IS DISTINCT FROM a.priority
                OR b.category_id IS DISTINCT FROM a.category_id
                OR (b.trashed_at IS NULL) <> (a.trashed_at IS NULL)) AS counts,
        bool_or(b.tags IS DISTINCT FROM a.tags OR b.tag_keys IS DISTINCT FROM a.tag_keys
                OR (b.trashed_at IS NULL) <> (a.trashed_at IS NULL) AND a.tags <> '[]') AS tags
    INTO changed
    FROM rows_before AS b FULL JOIN rows_after AS a ON a.user_id = b.user_id AND a.id = b.id;

    -- The update gives a parent one revision, so that clients with a copy of the parent learn of it.
    IF changed.parents THEN
        FOR parent IN
            SELECT user_id, parent_id AS id, sum(one) AS total, sum(completed) AS completed,
                max(max(updated_at)) OVER (PARTITION BY user_id) AS updated_at
            FROM (
                SELECT user_id, CASE WHEN trashed_at IS NULL THEN parent_id END, 1, (status = 'completed')::integer,
                    updated_at FROM rows_after
                UNION ALL
                SELECT user_id, CASE WHEN trashed_at IS NULL THEN parent_id END, -1, -(status = 'completed')::integer,
                    updated_at FROM rows_before
            ) AS subtasks (user_id, parent_id, one, completed, updated_at)
            GROUP BY user_id, parent_id ORDER BY user_id, parent_id
        LOOP
            CONTINUE WHEN parent.id IS NULL OR parent.total = 0 AND parent.completed = 0;
            UPDATE public.tasks
            SET subtasks_total = subtasks_total + parent.total,
                subtasks_completed = subtasks_completed + parent.completed,
                updated_at = greatest(updated_at, parent.updated_at)
            WHERE user_id = parent.user_id AND id = parent.id;
        END LOOP;
    END IF;

    IF changed.counts THEN
        FOR counter IN
            SELECT user_id, category_id, status, priority, sum(one) AS delta
            FROM (
                SELECT user_id, coalesce(category_id, no_category), status, priority, 1
                FROM rows_after WHERE trashed_at IS NULL
                UNION ALL
                SELECT user_id, coalesce(category_id, no_category), status, priority, -1
                FROM rows_before WHERE trashed_at IS NULL
            ) AS counted (user_id, category_id, status, priority, one)
            GROUP BY user_id, category_id, status, priority HAVING sum(one) <> 0
        LOOP
            UPDATE public.task_counts SET tasks = tasks + counter.delta
            WHERE user_id = counter.user_id AND category_id = counter.category_id AND status = counter.status
                AND priority = counter.priority;
            IF NOT FOUND AND counter.delta > 0 THEN
                INSERT INTO public.task_counts AS c (user_id, category_id, status, priority, tasks)
                VALUES (counter.user_id, counter.category_id, counter.status, counter.priority, counter.delta)
                ON CONFLICT (user_id, category_id, status, priority) DO UPDATE SET tasks = c.tasks + counter.delta;
            END IF;
        END LOOP;
    END IF;

    -- tag_keys has the same order as tags. A tag whose spelling stays the same is not touched.
    IF changed.tags THEN
        DELETE FROM public.task_tags AS t USING (
            SELECT user_id, id, key.value, tags ->> (key.ordinality - 1)::integer
            FROM rows_before, jsonb_array_elements_text(tag_keys) WITH ORDINALITY AS key WHERE trashed_at IS NULL
            EXCEPT
            SELECT user_id, id, key.value, tags ->> (key.ordinality - 1)::integer
            FROM rows_after, jsonb_array_elements_text(tag_keys) WITH ORDINALITY AS key WHERE trashed_at IS NULL
        ) AS removed (user_id, task_id, tag_key, tag)
        WHERE t.user_id = removed.user_id AND t.tag_key = removed.tag_key AND t.task_id = removed.task_id;
        INSERT INTO public.task_tags (user_id, task_id, tag_key, tag, created_at)
            SELECT user_id, id, key.value, tags ->> (key.ordinality - 1)::integer, created_at
            FROM rows_after, jsonb_array_elements_text(tag_keys) WITH ORDINALITY AS key WHERE trashed_at IS NULL
            EXCEPT
            SELECT user_id, id, key.value, tags ->> (key.ordinality - 1)::integer, created_at
            FROM rows_before, jsonb_array_elements_text(tag_keys) WITH ORDINALITY AS key WHERE trashed_at IS NULL
            ON CONFLICT (user_id, tag_key, task_id) DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
