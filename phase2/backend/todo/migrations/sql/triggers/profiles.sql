-- All triggers of profiles, in firing order: see tasks.sql.

CREATE OR REPLACE TRIGGER t10_lock_user_writes BEFORE INSERT OR UPDATE OR DELETE ON public.profiles
    FOR EACH STATEMENT EXECUTE FUNCTION app.lock_user_writes_trigger();

CREATE OR REPLACE TRIGGER t40_log_write BEFORE INSERT OR UPDATE ON public.profiles
    FOR EACH ROW EXECUTE FUNCTION app.log_change_of_profiles();

-- A user without a profile is in UTC, with days that start at midnight.
CREATE OR REPLACE TRIGGER t60_recompute_due_on_insert AFTER INSERT ON public.profiles FOR EACH ROW
    WHEN (NEW.time_zone <> 'UTC' OR NEW.day_start <> '00:00')
    EXECUTE FUNCTION app.recompute_due_on_profile_change();

CREATE OR REPLACE TRIGGER t60_recompute_due_on_update AFTER UPDATE ON public.profiles FOR EACH ROW
    WHEN (NEW.time_zone <> OLD.time_zone OR NEW.day_start <> OLD.day_start)
    EXECUTE FUNCTION app.recompute_due_on_profile_change();

CREATE OR REPLACE TRIGGER t60_recompute_due_on_delete AFTER DELETE ON public.profiles
    FOR EACH ROW EXECUTE FUNCTION app.recompute_due_on_profile_change();

CREATE OR REPLACE TRIGGER t70_log_delete AFTER DELETE ON public.profiles
    FOR EACH ROW EXECUTE FUNCTION app.log_change_of_profiles();
