-- The role todo_app, which every statement of the application runs as: no login, no way past row-level security.
-- Executed by every `todo migrate`: a dump contains no roles, so a restored database gets its role this way.

-- Roles belong to the cluster. Another database of the same cluster may have created the role already, or may be
-- creating it at this moment. Then that role is used.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'todo_app') THEN
        CREATE ROLE todo_app NOLOGIN NOINHERIT NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

-- Since PostgreSQL 16 membership alone does not allow SET ROLE.
DO $$
DECLARE
    may_set_role CONSTANT text := CASE WHEN current_setting('server_version_num')::integer < 160000
                                  THEN 'MEMBER' ELSE 'SET' END;
BEGIN
    IF NOT pg_has_role(current_user, 'todo_app', may_set_role) THEN
        GRANT todo_app TO CURRENT_USER;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'the role todo_app belongs to another login: whoever created it must run GRANT todo_app TO %',
        quote_ident(current_user) USING ERRCODE = 'insufficient_privilege';
END
$$;
