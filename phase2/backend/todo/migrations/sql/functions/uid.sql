-- Returns the id of the user for whom this transaction runs, or NULL. Every policy compares with it. The setting
-- app.user is 'start-of-transaction id': a value that another transaction left behind has another start and names
-- nobody. After a transaction-local setting the value is '', not NULL. No search_path is pinned, because a SET clause
-- would keep the planner from inlining the function into the policies. Every name is qualified instead. PARALLEL UNSAFE
-- (the default) keeps workers away: a query of one user reads a page, and starting workers costs more than that; they
-- would also return the parts of a list in any order.
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
