"""The schema, step by step: Alembic's revisions, and what runs them."""
