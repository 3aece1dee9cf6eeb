-- Gives a row of {table} the next position if another row has its position already: an undo brings back a position that
-- may be taken by now. One function per ordered table: see migrations/change_log.py.
-- Task: T-333
CREATE OR REPLACE FUNCTION app.ensure_unique_position_in_{table}() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM public.{table} WHERE user_id = NEW.user_id AND position = NEW.position AND id <> NEW.id
    ) THEN
        NEW.position := app.position_between(NEW.position, (
            SELECT min(position) FROM public.{table}
            WHERE user_id = NEW.user_id AND position > NEW.position AND id <> NEW.id
        ));
    END IF;
    RETURN NEW;
END
$$;
