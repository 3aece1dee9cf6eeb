"""The database schema: Alembic's revisions, the SQL files, and the modules that apply them."""
