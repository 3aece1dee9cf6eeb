-- Adds what an updated or deleted task changes in task_counts to a transaction-local setting;
-- app.write_deferred_task_counts() writes it when the statement is done. A statement that updates many tasks would
-- otherwise update the same counter many times: each time leaves a dead version of the row, and each lookup by key
-- visits all of them. If the setting grows beyond max_deferred_characters, because the statement touches many
-- categories, it is written early: each counter is a sum, so the order does not matter.
-- Task: T-383
CREATE OR REPLACE FUNCTION app.defer_task_counts() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    no_category CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    max_deferred_characters CONSTANT integer := 4000;
    deltas jsonb := coalesce(nullif(current_setting('app.deferred_task_counts', true), ''), '{}');
    counter text;
BEGIN
    -- Before PostgreSQL 18 a cascade from "user" runs as the role that deletes the user. It has no caller and may have
    -- no privileges on our tables. The counters are deleted by their own foreign key then.
    IF TG_OP = 'DELETE' AND coalesce(current_setting('app.user', true), '') = '' THEN
        IF NOT EXISTS (SELECT FROM public."user" WHERE id = OLD.user_id) THEN
            RETURN NULL;
        END IF;
    END IF;
    IF OLD.trashed_at IS NULL THEN
        counter := jsonb_build_array(
            OLD.user_id, coalesce(OLD.category_id, no_category), OLD.status, OLD.priority)::text;
        deltas := deltas || jsonb_build_object(counter, coalesce((deltas ->> counter)::bigint, 0) - 1);
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.trashed_at IS NULL THEN
            counter := jsonb_build_array(
                NEW.user_id, coalesce(NEW.category_id, no_category), NEW.status, NEW.priority)::text;
            deltas := deltas || jsonb_build_object(counter, coalesce((deltas ->> counter)::bigint, 0) + 1);
        END IF;
    END IF;
    IF length(deltas::text) > max_deferred_characters THEN
        PERFORM app.add_to_task_counts(deltas);
        deltas := '{}';
    END IF;
    PERFORM set_config('app.deferred_task_counts', deltas::text, true);
    RETURN NULL;
END
$$;
