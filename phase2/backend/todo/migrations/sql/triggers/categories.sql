-- All triggers of categories, in firing order: see tasks.sql.

CREATE OR REPLACE TRIGGER t10_lock_user_writes BEFORE INSERT OR UPDATE OR DELETE ON public.categories
    FOR EACH STATEMENT EXECUTE FUNCTION app.lock_user_writes_trigger();

-- The same limit is in models/categories.py.
CREATE OR REPLACE TRIGGER t20_limit_rows BEFORE INSERT ON public.categories
    FOR EACH ROW EXECUTE FUNCTION app.limit_rows_per_user('1000');

CREATE OR REPLACE TRIGGER t30_ensure_unique_position_on_insert BEFORE INSERT ON public.categories FOR EACH ROW
    WHEN (NEW.position IS NOT NULL) EXECUTE FUNCTION app.ensure_unique_position_in_categories();

CREATE OR REPLACE TRIGGER t30_ensure_unique_position_on_update BEFORE UPDATE ON public.categories FOR EACH ROW
    WHEN (NEW.position <> OLD.position) EXECUTE FUNCTION app.ensure_unique_position_in_categories();

CREATE OR REPLACE TRIGGER t40_log_write BEFORE INSERT OR UPDATE ON public.categories
    FOR EACH ROW EXECUTE FUNCTION app.log_change_of_categories();

CREATE OR REPLACE TRIGGER t70_log_delete AFTER DELETE ON public.categories
    FOR EACH ROW EXECUTE FUNCTION app.log_change_of_categories();
