-- All triggers of revisions, in firing order: see tasks.sql. The foreign key deletes the row with its user.

CREATE OR REPLACE TRIGGER t10_purge_user_changes AFTER DELETE ON public.revisions
    FOR EACH ROW EXECUTE FUNCTION app.purge_user_changes();

CREATE OR REPLACE TRIGGER t20_purge_user_words AFTER DELETE ON public.revisions
    FOR EACH ROW EXECUTE FUNCTION app.purge_user_words();
