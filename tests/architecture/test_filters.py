"""The filter by owner in each statement of the services: every table of users' rows must have it.

Row-level security would hide a missing filter, so these tests inspect the statements themselves.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import (
    BindParameter,
    ColumnClause,
    Delete,
    FromClause,
    Insert,
    Join,
    Select,
    TextClause,
    Update,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import aliased
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BooleanClauseList, ClauseElement
from sqlalchemy.sql.selectable import AliasedReturnsRows, ScalarSelect, SelectBase, TableClause
from sqlmodel import col

from support.statements import modules, statements
from todo import services
from todo.database import OwnedByCaller, Statement
from todo.database.statements import USER_ID
from todo.models.base import table_of
from todo.models.changes import Change
from todo.models.tasks import Task

_tasks = table_of(Task)
_changes = table_of(Change)
_first = aliased(Change, name="first")


def unfiltered(statement: Statement) -> set[str]:
    """Return the tables of users' rows that a statement uses without a filter by owner, each with the kind of use."""
    found = set()
    parts = _parts(statement.expression)
    filtered = {part.comparison.left.table for part in parts if isinstance(part, OwnedByCaller)}
    for part in parts:
        if isinstance(part, TextClause):
            found.add("text")
        elif isinstance(part, Select):
            found |= _unfiltered("SELECT", _froms_of(part, filtered), part.whereclause)
        elif isinstance(part, Update | Delete):
            found |= _unfiltered(part.__visit_name__.upper(), [part.table, *_others_in(part)], part.whereclause)
        elif isinstance(part, Insert) and _is_owned(part.table) and not _binds_owner(part):
            found.add(f"INSERT {_name_of(part.table)}")
    return found


def _parts(expression: Any) -> list[Any]:
    """Return the parts of an expression, each once: most parts occur in many places."""
    parts, to_visit = {id(expression): expression}, [expression]
    while to_visit:
        new = {id(child): child for child in to_visit.pop().get_children() if id(child) not in parts}
        parts |= new
        to_visit += new.values()
    return list(parts.values())


def _froms_of(part: Select[Any], filtered: set[FromClause]) -> list[FromClause]:
    """Return the FROM elements of a SELECT without those of the enclosing one, which are ``filtered`` there."""
    own: Any = part._correlate_except
    around: Any = part._correlate
    return [
        each
        for each in part.get_final_froms()
        if each not in filtered or not (each in around or (own is not None and each not in own))
    ]


def _unfiltered(how: str, froms: Sequence[FromClause], where: ClauseElement | None) -> set[str]:
    filtered_tables = {part.comparison.left.table for part in _conjuncts(where) if isinstance(part, OwnedByCaller)}
    named = [table for element in froms for table in _tables_in(element)]
    return {f"{how} {_name_of(table)}" for table in named if _is_owned(table) and table not in filtered_tables}


def _conjuncts(where: ClauseElement | None) -> Iterator[ClauseElement]:
    """Yield the conditions that every row must meet: conditions in an OR do not count."""
    if isinstance(where, BooleanClauseList) and where.operator is operators.and_:
        for clause in where.clauses:
            yield from _conjuncts(clause)
    elif where is not None:
        yield where


def _tables_in(element: FromClause) -> Iterator[FromClause]:
    if isinstance(element, Join):
        yield from _tables_in(element.left)
        yield from _tables_in(element.right)
    else:
        yield element


def _others_in(part: Update | Delete) -> list[FromClause]:
    """Return the other tables of an UPDATE ... FROM or DELETE ... USING: those that a condition names."""
    tables = [each.table for where in _conjuncts(part.whereclause) for each in _columns_in(where)]
    return [table for table in dict.fromkeys(tables) if table is not None and table is not part.table]


def _columns_in(part: Any) -> Iterator[ColumnClause[Any]]:
    """Yield the columns that an expression names, without those in subqueries."""
    if isinstance(part, ColumnClause):
        yield part
    elif not isinstance(part, SelectBase | ScalarSelect):
        for below in part.get_children():
            yield from _columns_in(below)


def _is_owned(named: FromClause) -> bool:
    table: Any = named
    while isinstance(table, AliasedReturnsRows):
        table = table.element
    return isinstance(table, TableClause) and USER_ID in table.c


def _name_of(table: Any) -> str:
    return str(table.name)


def _binds_owner(part: Insert) -> bool:
    if part.select is not None:
        names = part._select_names or []
        value = part.select.selected_columns[names.index(USER_ID)] if USER_ID in names else None
    else:
        given: Any = part._values or {}
        values = {getattr(column, "key", column): value for column, value in given.items()}
        value = values.get(USER_ID)
    return isinstance(value, BindParameter) and value.key == USER_ID


# Task: T-060
class TestStatements:
    def test_statements_are_found_in_every_service(self) -> None:
        with_statements = {
            module.__name__ for module in modules() if f"{module.__name__}.".startswith(f"{services.__name__}.")
        } & {module.__name__ for module in modules() if "Statement" in vars(module)}

        found = {name for name, _ in statements()}

        assert with_statements - {name.rpartition(".")[0] for name in found} == set()
        assert found >= {
            "todo.services.tasks.read.READ",
            "todo.services.task_list.page._statements",
            "todo.services.changes.undo._reinsert_statement",
            "todo.database.idempotency._EXPIRE",
            "todo.database.idempotency.PREAMBLE",
            "todo.database.idempotency.with_stored_response",
        }

    def test_every_statement_filters_by_owner(self) -> None:
        wrong = {name: found for name, statement in statements() if (found := unfiltered(statement))}

        assert wrong == {}

    def test_statements_are_built_only_where_these_tests_find_them(self) -> None:
        """These are the top level of modules, and cached functions."""
        hidden = [
            f"{module.__name__}.{name}"
            for module in modules()
            if module.__name__ != Statement.__module__
            for name, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__ and _makes_statements(value)
        ]

        # The callers of these functions are cached.
        assert hidden == [
            "todo.services.categories._update_statement",
            "todo.services.categories._trash",
            "todo.services.tasks.statements.update_statement",
        ]

    @pytest.mark.parametrize(
        ("expression", "found"),
        [
            (select(_tasks.c.id), {"SELECT tasks"}),
            (select(_tasks.c.id).where(or_(OwnedByCaller(_tasks), _tasks.c.title == "x")), {"SELECT tasks"}),
            (select(_tasks.c.id).where(OwnedByCaller(_changes)), {"SELECT tasks"}),
            (select(_tasks.c.id).where(OwnedByCaller(_tasks.alias())), {"SELECT tasks"}),
            (
                select(_tasks.c.id).join(_changes, _changes.c.user_id == _tasks.c.user_id).where(OwnedByCaller(_tasks)),
                {"SELECT changes"},
            ),
            (select(_changes.alias("first").c.revision), {"SELECT first"}),
            (select(literal(1)).where(exists().where(_tasks.c.id == bindparam("id"))), {"SELECT tasks"}),
            (
                select(literal(1)).where(
                    exists()
                    .where(OwnedByCaller(_changes), _changes.c.user_id == _tasks.c.user_id)
                    .correlate_except(_changes)
                ),
                {"SELECT tasks"},
            ),
            (select(select(_tasks.c.id).cte("all").c.id), {"SELECT tasks"}),
            (select(literal(1)).add_cte(delete(_tasks).cte("gone")), {"DELETE tasks"}),
            (update(_tasks).values(title="x").where(_tasks.c.id == bindparam("id")), {"UPDATE tasks"}),
            (
                delete(_tasks).where(OwnedByCaller(_tasks), _tasks.c.title == _changes.c.entity),
                {"DELETE changes"},
            ),
            (insert(_tasks).values(id=bindparam("id")), {"INSERT tasks"}),
            (insert(_tasks).values(user_id=bindparam("somebody")), {"INSERT tasks"}),
            (
                insert(_tasks).from_select(["id", "user_id"], select(_changes.c.entity_id, _changes.c.user_id)),
                {"INSERT tasks", "SELECT changes"},
            ),
            (
                update(_tasks)
                .where(OwnedByCaller(_tasks), _tasks.c.id.in_(select(_changes.c.entity_id)))
                .values(title="x"),
                {"SELECT changes"},
            ),
            (
                select(
                    select(_changes.c.revision).where(OwnedByCaller(_changes)).correlate(_tasks).scalar_subquery()
                ).select_from(_tasks),
                {"SELECT tasks"},
            ),
            (text("SELECT title FROM tasks"), {"text"}),
            # The same over the classes.
            (select(col(Task.id)), {"SELECT tasks"}),
            (select(col(Task.id)).where(OwnedByCaller(Change)), {"SELECT tasks"}),
            (
                select(col(Task.id)).join(Change, col(Change.user_id) == col(Task.user_id)).where(OwnedByCaller(Task)),
                {"SELECT changes"},
            ),
            (select(col(_first.revision)).where(OwnedByCaller(Change)), {"SELECT first"}),
            (
                select(literal(1)).where(exists().where(OwnedByCaller(Change), col(Task.id) == bindparam("id"))),
                {"SELECT tasks"},
            ),
            (update(Task).values(title="x").where(col(Task.id) == bindparam("id")), {"UPDATE tasks"}),
            (delete(Task).where(OwnedByCaller(Task), col(Task.title) == col(Change.entity)), {"DELETE changes"}),
            (insert(Task).values(user_id=bindparam("somebody")), {"INSERT tasks"}),
            (
                update(Task)
                .where(OwnedByCaller(Task), col(Task.id).in_(select(col(Change.entity_id))))
                .values(title="x"),
                {"SELECT changes"},
            ),
        ],
    )
    def test_unfiltered_statement_is_found(self, expression: Any, found: set[str]) -> None:
        assert unfiltered(Statement(expression)) == found

    @pytest.mark.parametrize(
        "expression",
        [
            select(_tasks.c.id).where(and_(OwnedByCaller(_tasks), _tasks.c.title == "x")),
            delete(_tasks).where(OwnedByCaller(_tasks)),
            insert(_tasks).values(user_id=bindparam("user_id")),
            select(literal(1)),
            select(col(Task.id)).where(and_(OwnedByCaller(Task), col(Task.title) == "x")),
            select(_tasks.c.id).where(OwnedByCaller(Task)),
            select(col(_first.revision)).where(OwnedByCaller(_first)),
            update(Task).values(title="x").where(OwnedByCaller(Task)),
            delete(Task).where(OwnedByCaller(Task)),
            insert(Task).values(user_id=bindparam("user_id")),
        ],
    )
    def test_filtered_statement_passes(self, expression: Any) -> None:
        assert unfiltered(Statement(expression)) == set()


def _makes_statements(function: Callable[..., Any]) -> bool:
    return "Statement" in function.__code__.co_names
