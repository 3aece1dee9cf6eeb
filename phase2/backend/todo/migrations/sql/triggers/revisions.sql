-- All triggers of revisions, in firing order: see tasks.sql. The row goes with its user, by its foreign key.

CREATE OR REPLACE TRIGGER t10_purge_user_changes AFTER DELETE ON public.revisions
    FOR EACH ROW EXECUTE FUNCTION app.purge_user_changes();

CREATE OR REPLACE TRIGGER t20_purge_user_words AFTER DELETE ON public.revisions
    FOR EACH ROW EXECUTE FUNCTION app.purge_user_words();
