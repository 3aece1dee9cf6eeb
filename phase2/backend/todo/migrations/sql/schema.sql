-- The schema of our functions, and the two tables of the runner that applies these files (migrations/sql_files.py).
-- Executed before the migrations: a generated column of tasks calls a function of this schema.

DO $$
BEGIN
    -- CREATE SCHEMA IF NOT EXISTS asks for the privilege to create one even where there is one.
    IF to_regnamespace('app') IS NULL THEN
        CREATE SCHEMA app;
    END IF;
END
$$;

-- Which files were applied, by the SHA-256 of what was executed.
CREATE TABLE IF NOT EXISTS app.sql_files (
    path text CONSTRAINT pk_sql_files PRIMARY KEY,
    sha256 text NOT NULL
);

-- What the files made, by the SHA-256 of the definition that PostgreSQL gave for it right afterwards. An object whose
-- definition has another one by now was changed by hand.
CREATE TABLE IF NOT EXISTS app.sql_objects (
    name text CONSTRAINT pk_sql_objects PRIMARY KEY,
    sha256 text NOT NULL
);
