-- Deletes one batch of expired rows: changes older than kept_days and idempotency keys older than 24 hours. It always
-- deletes the oldest revisions of the log, so that the rest has no gaps. Users are addressed by their number in the
-- order of ids, so that the caller does not learn ids; next_user is the start of the next batch, NULL when all users
-- are done. SECURITY DEFINER and on behalf of one user after the other, because the policies also apply to the owner of
-- the tables. Only one process prunes at a time. A call in another process returns at once and deletes nothing.
CREATE OR REPLACE FUNCTION app.prune(
    kept_days integer,
    from_user bigint,
    max_rows bigint DEFAULT 500,
    max_users bigint DEFAULT 100,
    OUT removed bigint,
    OUT next_user bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller CONSTANT text := current_setting('app.user', true);
    pruned_user text;
    last_expired bigint;
    expired_keys text[];
    deleted bigint;
BEGIN
    IF kept_days IS NULL OR kept_days < 1 THEN
        RAISE EXCEPTION 'kept_days must be at least 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    removed := 0;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('app.prune', 2)) THEN
        RETURN;
    END IF;
    next_user := from_user;
    FOR pruned_user IN SELECT id FROM public."user" ORDER BY id OFFSET from_user LIMIT max_users LOOP
        PERFORM set_config('app.user', extract(epoch FROM now()) || ' ' || pruned_user, true);
        SELECT coalesce(min(revision) FILTER (WHERE changed_at >= now() - make_interval(days => kept_days)) - 1,
                        max(revision))
            INTO last_expired FROM (
                SELECT revision, changed_at FROM public.changes WHERE user_id = pruned_user
                ORDER BY revision LIMIT max_rows
            ) AS oldest;
        DELETE FROM public.changes WHERE user_id = pruned_user AND revision <= last_expired;
        GET DIAGNOSTICS deleted = ROW_COUNT;
        removed := removed + deleted;
        SELECT array_agg(key) INTO expired_keys FROM (
            SELECT key FROM public.idempotency_keys
            WHERE user_id = pruned_user AND created_at < now() - interval '24 hours'
            ORDER BY created_at LIMIT max_rows
        ) AS oldest;
        DELETE FROM public.idempotency_keys WHERE user_id = pruned_user AND key = ANY (expired_keys);
        GET DIAGNOSTICS deleted = ROW_COUNT;
        removed := removed + deleted;
        -- This user may have more: the next batch begins here again.
        EXIT WHEN removed >= max_rows;
        next_user := next_user + 1;
    END LOOP;
    PERFORM set_config('app.user', caller, true);
    IF removed < max_rows AND next_user < from_user + max_users THEN
        next_user := NULL;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION app.prune(integer, bigint, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.prune(integer, bigint, bigint, bigint) TO todo_app;
