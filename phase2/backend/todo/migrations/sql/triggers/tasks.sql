-- All triggers of tasks, in firing order. Triggers of one kind fire in the order of their names: hence the numbers.
-- PostgreSQL fires BEFORE STATEMENT, BEFORE ROW, AFTER ROW (when the statement is done), AFTER STATEMENT.
-- A BEFORE ROW trigger that changes or refuses a row has a number below t40, which logs it.

-- Before the statement.

CREATE OR REPLACE TRIGGER t10_lock_user_writes BEFORE INSERT OR UPDATE OR DELETE ON public.tasks
    FOR EACH STATEMENT EXECUTE FUNCTION app.lock_user_writes_trigger();

-- Before each row.

CREATE OR REPLACE TRIGGER t20_compute_due_and_start_on_insert BEFORE INSERT ON public.tasks FOR EACH ROW
    WHEN (NEW.due_date IS NOT NULL OR NEW.start_date IS NOT NULL) EXECUTE FUNCTION app.compute_due_and_start();

CREATE OR REPLACE TRIGGER t20_compute_due_and_start_on_update BEFORE UPDATE ON public.tasks FOR EACH ROW
    WHEN (NEW.due_date IS DISTINCT FROM OLD.due_date OR NEW.start_date IS DISTINCT FROM OLD.start_date
          OR NEW.due_time_zone IS DISTINCT FROM OLD.due_time_zone
          OR NEW.due_at IS DISTINCT FROM OLD.due_at OR NEW.start_at IS DISTINCT FROM OLD.start_at
          OR NEW.status IN ('pending', 'in_progress') AND OLD.status IN ('completed', 'cancelled'))
    EXECUTE FUNCTION app.compute_due_and_start();

CREATE OR REPLACE TRIGGER t25_invalidate_next_occurrences BEFORE UPDATE ON public.tasks FOR EACH ROW
    WHEN (NEW.next_occurrences = OLD.next_occurrences AND (
        NEW.due_date IS DISTINCT FROM OLD.due_date OR NEW.due_time_zone IS DISTINCT FROM OLD.due_time_zone
        OR NEW.recurrence IS DISTINCT FROM OLD.recurrence
        OR NEW.recurrence_anchor IS DISTINCT FROM OLD.recurrence_anchor
        OR NEW.recurrence_number IS DISTINCT FROM OLD.recurrence_number
        OR NEW.recurrence_due IS DISTINCT FROM OLD.recurrence_due
        OR NEW.recurrence_start IS DISTINCT FROM OLD.recurrence_start))
    EXECUTE FUNCTION app.invalidate_next_occurrences();

CREATE OR REPLACE TRIGGER t30_ensure_unique_position_on_insert BEFORE INSERT ON public.tasks FOR EACH ROW
    WHEN (NEW.position IS NOT NULL) EXECUTE FUNCTION app.ensure_unique_position_in_tasks();

CREATE OR REPLACE TRIGGER t30_ensure_unique_position_on_update BEFORE UPDATE ON public.tasks FOR EACH ROW
    WHEN (NEW.position <> OLD.position) EXECUTE FUNCTION app.ensure_unique_position_in_tasks();

CREATE OR REPLACE TRIGGER t40_log_write BEFORE INSERT OR UPDATE ON public.tasks
    FOR EACH ROW EXECUTE FUNCTION app.log_change_of_tasks();

-- After each row.

CREATE OR REPLACE TRIGGER t50_reject_live_under_trashed_on_insert AFTER INSERT ON public.tasks FOR EACH ROW
    WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION app.reject_live_under_trashed();

CREATE OR REPLACE TRIGGER t50_reject_cycle_or_depth_on_update AFTER UPDATE ON public.tasks FOR EACH ROW
    WHEN (NEW.parent_id IS NOT NULL AND NEW.parent_id IS DISTINCT FROM OLD.parent_id)
    EXECUTE FUNCTION app.reject_cycle_or_depth();

CREATE OR REPLACE TRIGGER t55_reject_cycle_or_depth_on_insert AFTER INSERT ON public.tasks FOR EACH ROW
    WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION app.reject_cycle_or_depth();

CREATE OR REPLACE TRIGGER t55_reject_live_under_trashed_on_update AFTER UPDATE ON public.tasks FOR EACH ROW
    WHEN (NEW.trashed_at IS DISTINCT FROM OLD.trashed_at OR NEW.parent_id IS DISTINCT FROM OLD.parent_id)
    EXECUTE FUNCTION app.reject_live_under_trashed();

CREATE OR REPLACE TRIGGER t60_increment_task_count AFTER INSERT ON public.tasks
    FOR EACH ROW EXECUTE FUNCTION app.increment_task_count();

CREATE OR REPLACE TRIGGER t65_update_parent_counts_on_insert AFTER INSERT ON public.tasks FOR EACH ROW
    WHEN (NEW.parent_id IS NOT NULL AND NEW.trashed_at IS NULL) EXECUTE FUNCTION app.update_parent_counts();

CREATE OR REPLACE TRIGGER t65_update_parent_counts_on_delete AFTER DELETE ON public.tasks FOR EACH ROW
    WHEN (OLD.parent_id IS NOT NULL AND OLD.trashed_at IS NULL) EXECUTE FUNCTION app.update_parent_counts();

CREATE OR REPLACE TRIGGER t70_log_delete AFTER DELETE ON public.tasks
    FOR EACH ROW EXECUTE FUNCTION app.log_change_of_tasks();

CREATE OR REPLACE TRIGGER t80_insert_task_tags AFTER INSERT ON public.tasks FOR EACH ROW
    WHEN (NEW.tags <> '[]') EXECUTE FUNCTION app.insert_task_tags();

CREATE OR REPLACE TRIGGER t85_sync_task_words AFTER INSERT OR DELETE ON public.tasks
    FOR EACH ROW EXECUTE FUNCTION app.sync_task_words();

CREATE OR REPLACE TRIGGER t85_sync_task_words_on_update AFTER UPDATE ON public.tasks FOR EACH ROW
    WHEN ((OLD.user_id, OLD.id, OLD.created_at, OLD.title, OLD.tags, OLD.description)
          IS DISTINCT FROM (NEW.user_id, NEW.id, NEW.created_at, NEW.title, NEW.tags, NEW.description))
    EXECUTE FUNCTION app.sync_task_words();

-- After the statement, with all its rows.

CREATE OR REPLACE TRIGGER t90_sync_counts_and_tags_on_update AFTER UPDATE ON public.tasks
    REFERENCING OLD TABLE AS rows_before NEW TABLE AS rows_after
    FOR EACH STATEMENT EXECUTE FUNCTION app.sync_counts_and_tags_on_update();

CREATE OR REPLACE TRIGGER t90_sync_counts_and_tags_on_delete AFTER DELETE ON public.tasks
    REFERENCING OLD TABLE AS rows_before
    FOR EACH STATEMENT EXECUTE FUNCTION app.sync_counts_and_tags_on_delete();
