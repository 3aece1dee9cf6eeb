-- Appends a row to the change log. For an update, "before" holds the old values of the keys that changed, without
-- updated_at, which does not count as a change.
-- Task: T-111
CREATE OR REPLACE FUNCTION app.append_change(
    owner text, revision bigint, entity text, entity_id text, operation text, state jsonb, previous jsonb
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO public.changes (user_id, revision, entity, entity_id, operation, changed_at, state, before)
    VALUES (owner, revision, entity, entity_id, operation, now(), state, CASE operation WHEN 'update' THEN (
        SELECT jsonb_object_agg(field.key, field.value) FROM jsonb_each(previous) AS field
        WHERE field.key <> 'updated_at' AND state -> field.key IS DISTINCT FROM field.value
    ) ELSE previous END);
END
$$;
