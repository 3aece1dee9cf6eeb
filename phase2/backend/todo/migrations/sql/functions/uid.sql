-- Returns the id of the user for whom this transaction runs, or NULL. Every policy compares with it. The setting
-- app.user is the start time of the transaction, a space, and the id: a value from another transaction has another
-- start time and names no user. After a transaction-local setting, the value is '', not NULL. No search_path is pinned,
-- because a SET clause would keep the planner from inlining the function into the policies. Every name is qualified
-- instead. PARALLEL UNSAFE (the default) prevents parallel workers: starting them costs more than a query of one user,
-- which reads a page, and they would return the parts of a list in any order.
CREATE OR REPLACE FUNCTION app.uid() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN pg_catalog.split_part(pg_catalog.current_setting('app.user', true), ' ', 1)
            OPERATOR(pg_catalog.=) (extract(epoch FROM pg_catalog.now())::pg_catalog.text)
        THEN pg_catalog.substr(
            pg_catalog.current_setting('app.user', true),
            pg_catalog.strpos(pg_catalog.current_setting('app.user', true), ' ') OPERATOR(pg_catalog.+) 1
        )
    END
$$;
