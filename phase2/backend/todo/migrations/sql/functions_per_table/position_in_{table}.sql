-- Returns the position that puts a row of {table} right behind a neighbour, or right before it; without a neighbour,
-- first (behind nothing) or last. Call it in the UPDATE that moves the row. Raises TD004 for an unknown neighbour. A
-- row that is there already keeps its position. One function per ordered table: see migrations/change_log.py. VOLATILE,
-- so that it reads the rows as they are when the writer holds the user write lock, and not as they were in the
-- statement's snapshot.
-- Task: T-333
CREATE OR REPLACE FUNCTION app.position_in_{table}(owner text, moved uuid, neighbour uuid, is_behind boolean)
    RETURNS text LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    current_position text COLLATE "C" := (SELECT position FROM public.{table} WHERE user_id = owner AND id = moved);
    neighbour_position text COLLATE "C" := (
        SELECT position FROM public.{table} WHERE user_id = owner AND id = neighbour AND id <> moved
    );
    lower_position text COLLATE "C" := CASE WHEN is_behind THEN neighbour_position END;
    upper_position text COLLATE "C" := CASE WHEN NOT is_behind THEN neighbour_position END;
BEGIN
    IF neighbour IS NOT NULL AND neighbour_position IS NULL THEN
        RAISE EXCEPTION 'there is no such neighbour' USING ERRCODE = 'TD004';
    END IF;
    IF is_behind THEN
        SELECT position INTO upper_position FROM public.{table}
        WHERE user_id = owner AND position > coalesce(neighbour_position, '') AND id <> moved
        ORDER BY position LIMIT 1;
    ELSE
        SELECT position INTO lower_position FROM public.{table}
        WHERE user_id = owner AND position < coalesce(neighbour_position, 'x') AND id <> moved
        ORDER BY position DESC LIMIT 1;
    END IF;
    IF coalesce(lower_position < current_position, true) AND coalesce(current_position < upper_position, true) THEN
        RETURN current_position;
    END IF;
    RETURN app.position_between(lower_position, upper_position);
END
$$;
