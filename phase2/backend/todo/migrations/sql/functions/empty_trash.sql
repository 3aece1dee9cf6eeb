-- Deletes one batch of tasks that have been in the trash for longer than kept_days. Batches, users and next_user as in
-- app.prune(). Starts with the leaves: deleting a parent would delete its subtree and make the batch larger. Skips a
-- user who is writing until the next run, so it never waits for a writer.
-- Task: T-352
CREATE OR REPLACE FUNCTION app.empty_trash(
    kept_days integer,
    from_user bigint,
    max_rows bigint DEFAULT 500,
    max_users bigint DEFAULT 100,
    OUT removed bigint,
    OUT next_user bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller CONSTANT text := current_setting('app.user', true);
    expired_before CONSTANT timestamptz := now() - make_interval(days => kept_days);
    emptied_user text;
    deleted bigint;
BEGIN
    IF kept_days IS NULL OR kept_days < 1 THEN
        RAISE EXCEPTION 'kept_days must be at least 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    removed := 0;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('app.empty_trash', 2)) THEN
        RETURN;
    END IF;
    next_user := from_user;
    FOR emptied_user IN SELECT id FROM public."user" ORDER BY id OFFSET from_user LIMIT max_users LOOP
        PERFORM set_config('app.user', extract(epoch FROM now()) || ' ' || emptied_user, true);
        -- The lock of app.lock_user_writes(), without waiting for it.
        IF EXISTS (SELECT FROM public.tasks WHERE user_id = emptied_user AND trashed_at < expired_before)
            AND pg_try_advisory_xact_lock(hashtextextended(emptied_user, 1)) THEN
            LOOP
                DELETE FROM public.tasks WHERE user_id = emptied_user AND id = ANY (ARRAY(
                    SELECT id FROM public.tasks AS leaf WHERE user_id = emptied_user AND trashed_at < expired_before
                        AND NOT EXISTS (SELECT FROM public.tasks WHERE user_id = emptied_user AND parent_id = leaf.id)
                    ORDER BY trashed_at LIMIT max_rows - removed
                ));
                GET DIAGNOSTICS deleted = ROW_COUNT;
                removed := removed + deleted;
                EXIT WHEN deleted = 0 OR removed >= max_rows;
            END LOOP;
        END IF;
        EXIT WHEN removed >= max_rows;
        next_user := next_user + 1;
    END LOOP;
    PERFORM set_config('app.user', caller, true);
    IF removed < max_rows AND next_user < from_user + max_users THEN
        next_user := NULL;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION app.empty_trash(integer, bigint, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.empty_trash(integer, bigint, bigint, bigint) TO todo_app;
