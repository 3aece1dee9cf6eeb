-- Assigns a revision to every write of a row of {table} and appends it to the change log. One function per table of
-- migrations/change_log.py, which has the values of {entity} and {excluded_columns}; a line with {computed_column}
-- is repeated for each of its computed columns. A generic function would have to compare rows as JSON: measured in plan
-- 005, SQL files.
--
-- An update of only computed columns, updated_at or revision is not a change: nothing is logged, and updated_at and
-- revision stay. An INSERT whose key exists already gives its revision back, because it will fail, do nothing or become
-- an UPDATE. It looks for the key after it has locked the counter, because another writer may have come first. A row
-- that gets another key is logged as deleted and created. The state must not depend on the session: instants are in
-- UTC.
-- Task: T-111
-- Task: T-434
CREATE OR REPLACE FUNCTION app.log_change_of_{table}() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    excluded CONSTANT text[] := '{{excluded_columns}}';
    computed CONSTANT public.{table} := NEW;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.updated_at := OLD.updated_at;
        NEW.revision := OLD.revision;
        NEW.{computed_column} := OLD.{computed_column};
        IF NEW IS NOT DISTINCT FROM OLD THEN
            NEW.{computed_column} := computed.{computed_column};
            RETURN NEW;
        END IF;
        NEW.{computed_column} := computed.{computed_column};
        NEW.updated_at := computed.updated_at;
        IF NEW.user_id = OLD.user_id AND NEW.id = OLD.id THEN
            NEW.revision := app.next_revision(NEW.user_id);
            PERFORM app.append_change(NEW.user_id, NEW.revision, '{entity}', NEW.id::text, 'update',
                                      to_jsonb(NEW) - excluded, to_jsonb(OLD) - excluded);
            RETURN NEW;
        END IF;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        -- A row that is deleted with its user is not logged: nobody can read it. A role that deletes users may read
        -- them, and has no caller. Before PostgreSQL 18 this runs as that role, which may lack access to app.uid().
        IF coalesce(current_setting('app.user', true), '') = '' THEN
            IF NOT EXISTS (SELECT FROM public."user" WHERE id = OLD.user_id) THEN
                RETURN NULL;
            END IF;
        END IF;
        PERFORM app.append_change(OLD.user_id, app.next_revision(OLD.user_id), '{entity}', OLD.id::text, 'delete',
                                  NULL, to_jsonb(OLD) - excluded);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        NEW.revision := app.next_revision(NEW.user_id);
        IF TG_TABLE_NAME IN ('tasks', 'categories') THEN
            -- A new row is the last one: see position_between.sql.
            NEW.position := coalesce(NEW.position, (500000000000000 + NEW.revision)::text);
        END IF;
        IF TG_TABLE_NAME = 'tasks' THEN
            -- A new task has no subtasks yet. The same is true for a task that an undo inserts again.
            NEW.subtasks_total := 0;
            NEW.subtasks_completed := 0;
        END IF;
        IF EXISTS (SELECT FROM public.{table} WHERE user_id = NEW.user_id AND id = NEW.id) THEN
            UPDATE public.revisions SET revision = revision - 1 WHERE user_id = NEW.user_id;
            NEW.revision := 0;
        ELSE
            PERFORM app.append_change(NEW.user_id, NEW.revision, '{entity}', NEW.id::text, 'create',
                                      to_jsonb(NEW) - excluded, NULL);
        END IF;
        RETURN NEW;
    END IF;
    RETURN NULL;
END
$$;
