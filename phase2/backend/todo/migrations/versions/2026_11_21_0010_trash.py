"""The trash is emptied by itself.

Revision ID: 0010
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# A bite of what is too old, as ``app.prune`` takes it: see there. From the leaves up, so that a bite does not grow by
# what lies under a task. A user who is writing is left for the next round: nobody waits for this, nor this for anybody.
_EMPTY_TRASH = """
CREATE FUNCTION app.empty_trash(kept_days integer, from_user bigint, OUT removed bigint, OUT next_user bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most_rows CONSTANT bigint := 500;
    most_users CONSTANT bigint := 100;
    caller CONSTANT text := current_setting('app.user', true);
    too_old CONSTANT timestamptz := now() - make_interval(days => kept_days);
    someone text;
    gone bigint;
BEGIN
    IF kept_days < 1 THEN
        RAISE EXCEPTION 'a day is the least that is kept' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    removed := 0;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('app.empty_trash', 2)) THEN
        RETURN;
    END IF;
    next_user := from_user;
    FOR someone IN SELECT id FROM public."user" ORDER BY id OFFSET from_user LIMIT most_users LOOP
        PERFORM set_config('app.user', extract(epoch FROM now()) || ' ' || someone, true);
        -- The writers' turn: see ``app.take_turn``.
        IF EXISTS (SELECT FROM public.tasks WHERE user_id = someone AND trashed_at < too_old)
            AND pg_try_advisory_xact_lock(hashtextextended(someone, 1)) THEN
            LOOP
                DELETE FROM public.tasks WHERE user_id = someone AND id = ANY (ARRAY(
                    SELECT id FROM public.tasks AS leaf WHERE user_id = someone AND trashed_at < too_old
                        AND NOT EXISTS (SELECT FROM public.tasks WHERE user_id = someone AND parent_id = leaf.id)
                    ORDER BY trashed_at LIMIT most_rows - removed
                ));
                GET DIAGNOSTICS gone = ROW_COUNT;
                removed := removed + gone;
                EXIT WHEN gone = 0 OR removed >= most_rows;
            END LOOP;
        END IF;
        EXIT WHEN removed >= most_rows;
        next_user := next_user + 1;
    END LOOP;
    PERFORM set_config('app.user', caller, true);
    IF removed < most_rows AND next_user < from_user + most_users THEN
        next_user := NULL;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION app.empty_trash(integer, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.empty_trash(integer, bigint) TO todo_app;
"""


# Task: T-352
def upgrade() -> None:
    op.execute(_EMPTY_TRASH)


def downgrade() -> None:
    op.execute("DROP FUNCTION app.empty_trash(integer, bigint)")
