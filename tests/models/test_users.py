"""The user table of Better Auth, and the identity of the caller."""

from dataclasses import FrozenInstanceError

import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

from todo.models.base import table_of
from todo.models.users import Identity, User


# Task: T-013
class TestUser:
    def test_user_model_has_the_columns_of_better_auths_table(self, database_url: str) -> None:
        url = database_url.replace("postgresql://", "postgresql+psycopg://", 1)
        engine = create_engine(url, poolclass=NullPool)
        found = {column["name"]: column["nullable"] for column in inspect(engine).get_columns("user")}

        declared = {column.name: column.nullable for column in table_of(User).c}

        assert declared == found


# Task: T-013
class TestIdentity:
    def test_identity_is_immutable(self) -> None:
        identity = Identity("alice", 0.0)

        with pytest.raises(FrozenInstanceError):
            identity.user_id = "bob"  # type: ignore[misc]

        assert (identity.name, identity.email) == (None, None)
