-- All triggers of views, in firing order: see tasks.sql.

CREATE OR REPLACE TRIGGER t10_lock_user_writes BEFORE INSERT OR UPDATE OR DELETE ON public.views
    FOR EACH STATEMENT EXECUTE FUNCTION app.lock_user_writes_trigger();

-- The same limit is in models/views.py.
CREATE OR REPLACE TRIGGER t20_limit_rows BEFORE INSERT ON public.views
    FOR EACH ROW EXECUTE FUNCTION app.limit_rows_per_user('200');

CREATE OR REPLACE TRIGGER t40_log_write BEFORE INSERT OR UPDATE ON public.views
    FOR EACH ROW EXECUTE FUNCTION app.log_change_of_views();

CREATE OR REPLACE TRIGGER t70_log_delete AFTER DELETE ON public.views
    FOR EACH ROW EXECUTE FUNCTION app.log_change_of_views();
