-- Adds deltas to task_counts. They are an object: [user_id, category_id, status, priority] as text, and how many more.
-- Task: T-383
CREATE OR REPLACE FUNCTION app.add_to_task_counts(deltas jsonb) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    counter jsonb;
    delta bigint;
BEGIN
    FOR counter, delta IN SELECT key::jsonb, value::bigint FROM jsonb_each_text(deltas) WHERE value <> '0' LOOP
        UPDATE public.task_counts SET tasks = tasks + delta
        WHERE user_id = counter ->> 0 AND category_id = (counter ->> 1)::uuid AND status = counter ->> 2
            AND priority = counter ->> 3;
        IF NOT FOUND AND delta > 0 THEN
            INSERT INTO public.task_counts AS c (user_id, category_id, status, priority, tasks)
            VALUES (counter ->> 0, (counter ->> 1)::uuid, counter ->> 2, counter ->> 3, delta)
            ON CONFLICT (user_id, category_id, status, priority) DO UPDATE SET tasks = c.tasks + delta;
        END IF;
    END LOOP;
END
$$;
