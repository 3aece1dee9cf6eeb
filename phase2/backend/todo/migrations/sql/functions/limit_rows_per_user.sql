-- Refuses a row (TD006) of a user who already has the number of rows in the trigger's argument. The writer holds the
-- user write lock, so two writers cannot exceed the limit together. A row that exists already does not count as new.
-- The tables are named, because a query built from TG_TABLE_NAME would be planned at every call.
-- Task: T-331
-- Task: T-373
CREATE OR REPLACE FUNCTION app.limit_rows_per_user() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    max_rows CONSTANT bigint := TG_ARGV[0];
    other_rows bigint;
BEGIN
    IF TG_TABLE_NAME = 'categories' THEN
        other_rows := (SELECT count(*) FROM public.categories WHERE user_id = NEW.user_id AND id <> NEW.id);
    ELSIF TG_TABLE_NAME = 'views' THEN
        other_rows := (SELECT count(*) FROM public.views WHERE user_id = NEW.user_id AND id <> NEW.id);
    ELSE
        RAISE EXCEPTION 'app.limit_rows_per_user() does not count the rows of %: add its table', TG_TABLE_NAME;
    END IF;
    IF other_rows >= max_rows THEN
        RAISE EXCEPTION 'a user has at most % %', max_rows, TG_TABLE_NAME
            USING ERRCODE = 'TD006', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END
$$;
