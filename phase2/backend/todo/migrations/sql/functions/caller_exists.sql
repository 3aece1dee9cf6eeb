-- Returns whether the caller has a row in Better Auth's table "user".
-- SECURITY DEFINER, because todo_app may not read users. It takes no argument and answers about the caller alone.
CREATE OR REPLACE FUNCTION app.caller_exists() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM public."user" WHERE id = app.uid())
$$;

REVOKE ALL ON FUNCTION app.caller_exists() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.caller_exists() TO todo_app;
