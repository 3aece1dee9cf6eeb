-- All triggers of task_tags, in firing order: see tasks.sql.

CREATE OR REPLACE TRIGGER t10_sync_tag_counts_on_insert AFTER INSERT ON public.task_tags
    REFERENCING NEW TABLE AS rows_after FOR EACH STATEMENT EXECUTE FUNCTION app.sync_tag_counts();

CREATE OR REPLACE TRIGGER t10_sync_tag_counts_on_delete AFTER DELETE ON public.task_tags
    REFERENCING OLD TABLE AS rows_before FOR EACH STATEMENT EXECUTE FUNCTION app.sync_tag_counts();
