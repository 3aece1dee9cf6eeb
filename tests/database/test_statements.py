"""Statements: compiled once, with a filter by owner, and encoded as bind parameters."""

from uuid import UUID

import psycopg
import pytest
from psycopg.adapt import Transformer
from sqlalchemy import bindparam, delete, func, insert, select

from todo.database import OwnedByCaller, Statement
from todo.database.statements import CompiledText, Dialect
from todo.models import Task
from todo.models.base import table_of

_tasks = table_of(Task)
_mine = OwnedByCaller(_tasks)


# Task: T-021
class TestOwnedByCaller:
    def test_owner_filter_compares_with_the_caller(self) -> None:
        text = Statement(select(_tasks.c.title).where(_mine)).text(Dialect())

        assert text.sql.split() == b"SELECT tasks.title FROM tasks WHERE tasks.user_id = $1::VARCHAR".split()
        assert text.names == ("user_id",)

    def test_owner_filter_can_be_compiled_to_true(self) -> None:
        text = Statement(select(_tasks.c.title).where(_mine)).text(Dialect(filter_by_owner=False))

        assert text.sql.split() == b"SELECT tasks.title FROM tasks WHERE true".split()
        assert text.names == ()


# Task: T-021
class TestStatement:
    def test_statement_is_compiled_once(self) -> None:
        statement = Statement(select(_tasks.c.title).where(_mine))

        assert statement.text(Dialect()) is statement.text(Dialect())
        assert statement.text(Dialect()) is not statement.text(Dialect(filter_by_owner=False))

    def test_statements_with_the_same_text_have_the_same_name(self) -> None:
        names = {
            Statement(select(column)).text(Dialect()).name for column in (_tasks.c.id, _tasks.c.id, _tasks.c.title)
        }

        assert len(names) == 2
        # 128 bits: two statements of clients that share a server connection never have the same name by chance.
        assert {len(name.removeprefix(b"todo_")) for name in names} == {32}

    @pytest.mark.parametrize(
        ("statement", "expected"),
        [
            (Statement(select(_tasks.c.id)), (False, True, False)),
            (Statement(select(_tasks.c.id), part_of_write=True), (False, True, True)),
            (Statement(select(func.write()), writes=True), (True, False, True)),
            (Statement(delete(_tasks)), (True, False, True)),
            (Statement(insert(_tasks), repeatable=True), (True, True, True)),
        ],
    )
    def test_statement_knows_whether_it_writes_and_is_repeatable(
        self, statement: Statement, expected: tuple[bool, bool, bool]
    ) -> None:
        assert (statement.writes, statement.repeatable, statement.part_of_write) == expected


# Task: T-021
class TestEncode:
    @pytest.fixture
    def text(self) -> CompiledText:
        """A statement with two parameters, one of them used twice, and a constant."""
        return Statement(
            select(func.lower("KEPT")).where(
                _tasks.c.title == bindparam("title"),
                _tasks.c.id == bindparam("id"),
                _tasks.c.due_date > bindparam("title"),
            )
        ).text(Dialect())

    def test_values_are_encoded_in_the_order_of_the_parameters(self, text: CompiledText) -> None:
        values = text.encode({"id": UUID(int=7), "title": "Milk"}, Transformer())

        assert [bytes(value) for value in values] == [b"KEPT", b"Milk", UUID(int=7).hex.encode()]

    def test_missing_value_raises_key_error(self, text: CompiledText) -> None:
        with pytest.raises(KeyError):
            text.encode({"title": "Milk"}, Transformer())

    def test_value_with_nul_is_rejected(self, text: CompiledText) -> None:
        with pytest.raises(psycopg.DataError):
            text.encode({"id": UUID(int=7), "title": "Milk\x00and honey"}, Transformer())
