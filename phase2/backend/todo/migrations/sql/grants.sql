-- The privileges of todo_app: rows of the tables that row-level security guards, and nothing else.
-- Privileges that were granted by hand are revoked first. A SECURITY DEFINER function has its grants in its own file.

REVOKE ALL ON SCHEMA public FROM todo_app;
REVOKE ALL ON SCHEMA app FROM todo_app, PUBLIC;
GRANT USAGE ON SCHEMA public, app TO todo_app;

REVOKE ALL ON
    public.categories, public.changes, public.idempotency_keys, public.profiles, public.revisions, public.tag_counts,
    public.task_counts, public.task_tags, public.task_words, public.tasks, public.views, app.sql_files, app.sql_objects
    FROM todo_app, PUBLIC;

GRANT SELECT, INSERT, UPDATE, DELETE ON
    public.categories, public.changes, public.idempotency_keys, public.profiles, public.revisions, public.tag_counts,
    public.task_counts, public.task_tags, public.task_words, public.tasks, public.views
    TO todo_app;
