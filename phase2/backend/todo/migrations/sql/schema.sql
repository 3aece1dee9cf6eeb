-- The schema of our functions, and the two tables of the runner that applies these files (migrations/sql_files.py).
-- Executed before the migrations: a generated column of tasks calls a function of this schema.

DO $$
BEGIN
    -- CREATE SCHEMA IF NOT EXISTS needs the privilege to create a schema even if it exists.
    IF to_regnamespace('app') IS NULL THEN
        CREATE SCHEMA app;
    END IF;
END
$$;

-- The applied files, with the SHA-256 of the executed text.
CREATE TABLE IF NOT EXISTS app.sql_files (
    path text CONSTRAINT pk_sql_files PRIMARY KEY,
    sha256 text NOT NULL
);

-- The objects that the files created, with the SHA-256 of the definition that PostgreSQL returned right afterwards. If
-- the definition of an object has another one now, the object was changed by hand.
CREATE TABLE IF NOT EXISTS app.sql_objects (
    name text CONSTRAINT pk_sql_objects PRIMARY KEY,
    sha256 text NOT NULL
);
