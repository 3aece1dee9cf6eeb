-- Adds deltas to tag_counts. They are an object: [user_id, tag_key, tag] as text, and how many tasks more have the tag.
-- A spelling of a tag that no task has any more is deleted.
-- Task: T-375
CREATE OR REPLACE FUNCTION app.add_to_tag_counts(deltas jsonb) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.tag_counts AS c (user_id, tag_key, tag, tasks)
    SELECT counter ->> 0, counter ->> 1, counter ->> 2, delta
    FROM (SELECT key::jsonb, value::bigint FROM jsonb_each_text(deltas) WHERE value <> '0') AS each (counter, delta)
    ON CONFLICT (user_id, tag_key, tag) DO UPDATE SET tasks = c.tasks + excluded.tasks;
    DELETE FROM public.tag_counts AS c
    USING (SELECT key::jsonb FROM jsonb_each_text(deltas) WHERE value::bigint < 0) AS each (counter)
    WHERE c.user_id = counter ->> 0 AND c.tag_key = counter ->> 1 AND c.tag = counter ->> 2 AND c.tasks = 0;
END
$$;
