-- Row-level security: on every table with a user_id, forced on the owner of the table too, with one policy each, of the
-- same form. A role reads and writes only rows of the user that app.uid() returns, and no rows if it returns NULL.
-- (SELECT app.uid()) is evaluated once per statement; app.uid() would be evaluated once per row.

ALTER TABLE public.categories ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner ON public.categories;
CREATE POLICY owner ON public.categories
    USING (user_id = (SELECT app.uid())) WITH CHECK (user_id = (SELECT app.uid()));

ALTER TABLE public.changes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner ON public.changes;
CREATE POLICY owner ON public.changes
    USING (user_id = (SELECT app.uid())) WITH CHECK (user_id = (SELECT app.uid()));

ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner ON public.idempotency_keys;
CREATE POLICY owner ON public.idempotency_keys
    USING (user_id = (SELECT app.uid())) WITH CHECK (user_id = (SELECT app.uid()));

ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner ON public.profiles;
CREATE POLICY owner ON public.profiles
    USING (user_id = (SELECT app.uid())) WITH CHECK (user_id = (SELECT app.uid()));

ALTER TABLE public.revisions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner ON public.revisions;
CREATE POLICY owner ON public.revisions
    USING (user_id = (SELECT app.uid())) WITH CHECK (user_id = (SELECT app.uid()));

ALTER TABLE public.tag_counts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner ON public.tag_counts;
CREATE POLICY owner ON public.tag_counts
    USING (user_id = (SELECT app.uid())) WITH CHECK (user_id = (SELECT app.uid()));

ALTER TABLE public.task_counts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner ON public.task_counts;
CREATE POLICY owner ON public.task_counts
    USING (user_id = (SELECT app.uid())) WITH CHECK (user_id = (SELECT app.uid()));

ALTER TABLE public.task_tags ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner ON public.task_tags;
CREATE POLICY owner ON public.task_tags
    USING (user_id = (SELECT app.uid())) WITH CHECK (user_id = (SELECT app.uid()));

ALTER TABLE public.task_words ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner ON public.task_words;
CREATE POLICY owner ON public.task_words
    USING (user_id = (SELECT app.uid())) WITH CHECK (user_id = (SELECT app.uid()));

ALTER TABLE public.tasks ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner ON public.tasks;
CREATE POLICY owner ON public.tasks
    USING (user_id = (SELECT app.uid())) WITH CHECK (user_id = (SELECT app.uid()));

ALTER TABLE public.views ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner ON public.views;
CREATE POLICY owner ON public.views
    USING (user_id = (SELECT app.uid())) WITH CHECK (user_id = (SELECT app.uid()));
