-- Increments the revision counter of a user and returns it. The counter's row stays locked until the commit, so the
-- revisions of one user have no gaps and become visible in order. A transaction that increments the counter n times
-- leaves n dead versions of the row, and a lookup by key visits all of them. So the ctid of the latest version is kept
-- in a transaction-local setting and tried first; if that version is gone, or belongs to another user, the row is
-- looked up by its key.
-- Task: T-111
-- Task: T-383
CREATE OR REPLACE FUNCTION app.next_revision(owner text) RETURNS bigint LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    counter_ctid tid := nullif(current_setting('app.revision_ctid', true), '')::tid;
    new_revision bigint;
BEGIN
    IF counter_ctid IS NOT NULL THEN
        UPDATE public.revisions SET revision = revision + 1 WHERE ctid = counter_ctid AND user_id = owner
            RETURNING revision, ctid INTO new_revision, counter_ctid;
    END IF;
    IF new_revision IS NULL THEN
        UPDATE public.revisions SET revision = revision + 1 WHERE user_id = owner
            RETURNING revision, ctid INTO new_revision, counter_ctid;
    END IF;
    IF new_revision IS NULL THEN
        INSERT INTO public.revisions AS r (user_id, revision) VALUES (owner, 1)
            ON CONFLICT (user_id) DO UPDATE SET revision = r.revision + 1
            RETURNING revision, ctid INTO new_revision, counter_ctid;
    END IF;
    PERFORM set_config('app.revision_ctid', counter_ctid::text, true);
    RETURN new_revision;
END
$$;
