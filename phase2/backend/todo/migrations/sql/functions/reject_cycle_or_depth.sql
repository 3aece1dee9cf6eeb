-- Refuses a task that would be its own ancestor (TD001), or a tree of more than max_levels levels (TD002). A task
-- without a parent is the first level. Fires after the statement, so that a repeated creation that does nothing is not
-- refused. The writer holds the user write lock, so no other writer moves the user's tasks meanwhile. The foreign key
-- refuses a parent that does not exist.
-- Task: T-342
CREATE OR REPLACE FUNCTION app.reject_cycle_or_depth() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    max_levels CONSTANT integer := 5;
    ancestor uuid := NEW.parent_id;
    descendants uuid[] := ARRAY[NEW.id];
    levels integer := 1;
BEGIN
    WHILE ancestor IS NOT NULL AND levels <= max_levels LOOP
        IF ancestor = NEW.id THEN
            RAISE EXCEPTION 'a task cannot be its own ancestor' USING ERRCODE = 'TD001';
        END IF;
        levels := levels + 1;
        ancestor := (SELECT parent_id FROM public.tasks WHERE user_id = NEW.user_id AND id = ancestor);
    END LOOP;
    WHILE levels <= max_levels LOOP
        descendants := ARRAY(
            SELECT id FROM public.tasks WHERE user_id = NEW.user_id AND parent_id = ANY(descendants)
        );
        EXIT WHEN cardinality(descendants) = 0;
        levels := levels + 1;
    END LOOP;
    IF levels > max_levels THEN
        RAISE EXCEPTION 'a tree of tasks has at most % levels', max_levels USING ERRCODE = 'TD002';
    END IF;
    RETURN NULL;
END
$$;
