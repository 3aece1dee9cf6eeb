"""The services' wall, statement by statement: whatever names a table of users' rows asks for the caller's.

The database's wall would hide that one is missing; here the statements themselves are read.
"""

import importlib
import inspect
import itertools
import json
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, get_type_hints

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
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BooleanClauseList, ClauseElement
from sqlalchemy.sql.selectable import AliasedReturnsRows, ScalarSelect, SelectBase, TableClause

from todo import database, services
from todo.database import OwnedByCaller, Statement
from todo.database.statements import USER_ID
from todo.kit.recurrence import Rule
from todo.models.base import table_of
from todo.models.categories import Leftover
from todo.models.changes import Change
from todo.models.finding import Due, TaskQuery
from todo.models.tasks import Task
from todo.services import changes, filters, finding, search, task_rows

_tasks = table_of(Task)
_changes = table_of(Change)

_ID = "0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2"
_SIDES = [f"{name}_{side}" for name in ("due", "completed", "created", "updated") for side in ("before", "after")]
# Each filter by itself in each of its forms, and many together.
_QUERIES: list[dict[str, Any]] = [
    {},
    *({"status": some} for some in (["pending"], ["pending", "completed"])),
    *({"priority": some} for some in (["high"], ["high", "low"])),
    *({name: one} for name in ("category_id", "parent_id") for one in (_ID, "none")),
    *({"tag": some} for some in (["a"], ["a", "b"])),
    {"not_tag": ["a"]},
    {"trashed": True},
    *({"due": due} for due in Due),
    *({side: form} for side in _SIDES for form in ("2026-03-10", "2026-03-10T09:00:00", "2026-03-10T09:00:00Z")),
    {"status": ["pending"], "tag": ["a"], "not_tag": ["b"], "category_id": _ID, "due_before": "2026-03-10"},
]

# What a function that makes statements may be called with, by the type of its parameter. The statement that a repeated
# request is answered from is made of any other.
_EXAMPLES: Mapping[Any, list[Any]] = {
    bool: [False, True],
    Leftover: list(Leftover),
    tuple[tuple[str, bool], ...]: [(), (("status", False),), (("status", True), ("priority", False))],
    changes._Entity: list(changes._ENTITIES.values()),
    Statement: [task_rows.CREATE],
    search.Shape: [
        search.Shape(words, several, chosen, *[more] * 5)
        for words, several, chosen, more in itertools.product([False, True], repeat=4)
    ],
    finding.Shape: [
        finding.Shape(
            filters.filters_of(TaskQuery.model_validate_json(json.dumps(query))), sort, words, None, skips, unless
        )
        for query in _QUERIES
        for sort, words in ((("-due_date", "priority"), None), ((), search.Shape(*[True, True, False], *[True] * 5)))
        for skips, unless in ((False, False), (True, True))
    ],
}

# And by its module, where it takes the names of columns.
_NAMES: Mapping[str, Sequence[tuple[str, ...]]] = {
    "categories": [("name",), ("archived", "name")],
    "changes": [("updated_at",)],
    "profiles": [("time_zone",), ("day_start", "time_zone")],
    "task_rows": [("title",), ("status", "title")],
    "tasks": [("title",), ("status", "title")],
    "views": [("name",), ("name", "query")],
}

# What other functions keep.
_NO_STATEMENTS = (Rule,)


def _modules() -> Iterator[ModuleType]:
    for package in (services, database):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


def _makers(module: ModuleType) -> list[Callable[..., Any]]:
    """The functions of a module that make statements, or parts of them, and keep them. What they return they say."""
    return [
        value
        for value in vars(module).values()
        if hasattr(value, "cache_info")
        and value.__module__ == module.__name__
        and get_type_hints(value)["return"] not in _NO_STATEMENTS
    ]


def _examples_of(kind: Any, maker: Callable[..., Any]) -> Sequence[Any]:
    module = maker.__module__.rpartition(".")[2]
    examples = _NAMES.get(module) if kind == tuple[str, ...] else _EXAMPLES.get(kind)
    assert examples, f"say in _EXAMPLES or _NAMES, in this file, what {module}.{maker.__name__} takes for a {kind}"
    return examples


def _made_by(maker: Callable[..., Any]) -> Iterator[Any]:
    hints = get_type_hints(maker)
    parameters = inspect.signature(maker).parameters.values()
    for values in itertools.product(*(_examples_of(hints[parameter.name], maker) for parameter in parameters)):
        given = list(zip(parameters, values, strict=True))
        positional = [value for parameter, value in given if parameter.kind != parameter.KEYWORD_ONLY]
        named = {parameter.name: value for parameter, value in given if parameter.kind == parameter.KEYWORD_ONLY}
        made = maker(*positional, **named)
        yield from made if isinstance(made, tuple) else (made,)


def statements() -> Iterator[tuple[str, Statement]]:
    """Every statement of the services, and of what the database layer adds, with the name that it has there."""
    for module in _modules():
        found = [(name, value) for name, value in vars(module).items()]
        found += [(maker.__name__, made) for maker in _makers(module) for made in _made_by(maker)]
        for name, value in found:
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, Statement):
                    yield f"{module.__name__}.{name}", each


def unfiltered(statement: Statement) -> set[str]:
    """The tables of users' rows that a statement names without asking for the caller's, each with how."""
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
    """What an expression is made of, each part once: most of it is named in many places."""
    parts, to_visit = {id(expression): expression}, [expression]
    while to_visit:
        new = {id(child): child for child in to_visit.pop().get_children() if id(child) not in parts}
        parts |= new
        to_visit += new.values()
    return list(parts.values())


def _froms_of(part: Select[Any], filtered: set[FromClause]) -> list[FromClause]:
    """What a SELECT names, but for what belongs to the one around it, which is ``filtered`` there."""
    own: Any = part._correlate_except
    around: Any = part._correlate
    return [
        each
        for each in part.get_final_froms()
        if each not in filtered or not (each in around or (own is not None and each not in own))
    ]


def _unfiltered(how: str, froms: Sequence[FromClause], where: ClauseElement | None) -> set[str]:
    asked_for = {part.comparison.left.table for part in _conjuncts(where) if isinstance(part, OwnedByCaller)}
    named = [table for element in froms for table in _tables_in(element)]
    return {f"{how} {_name_of(table)}" for table in named if _is_owned(table) and table not in asked_for}


def _conjuncts(where: ClauseElement | None) -> Iterator[ClauseElement]:
    """What has to be true of every row: not what stands in an OR."""
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
    """The other tables of an UPDATE ... FROM or DELETE ... USING, which are there because a condition names them."""
    tables = [each.table for where in _conjuncts(part.whereclause) for each in _columns_in(where)]
    return [table for table in dict.fromkeys(tables) if table is not None and table is not part.table]


def _columns_in(part: Any) -> Iterator[ColumnClause[Any]]:
    """The columns that an expression names by itself: a subquery's are its own matter."""
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
    def test_are_found_in_every_service_that_makes_some(self) -> None:
        making = {module.__name__ for module in _modules() if module.__package__ == services.__name__} & {
            module.__name__ for module in _modules() if "Statement" in vars(module)
        }

        found = {name for name, _ in statements()}

        assert making - {name.rpartition(".")[0] for name in found} == set()
        assert found >= {
            "todo.services.task_rows.READ",
            "todo.services.finding._statements",
            "todo.services.changes._return",
            "todo.database.retries._EXPIRE",
            "todo.database.retries.IN_FRONT",
            "todo.database.retries.keeping",
        }

    def test_all_ask_for_the_callers_rows(self) -> None:
        wrong = {name: found for name, statement in statements() if (found := unfiltered(statement))}

        assert wrong == {}

    def test_are_made_where_this_finds_them(self) -> None:
        """At the top of a module, or in a function that keeps what it made."""
        hidden = [
            f"{module.__name__}.{name}"
            for module in _modules()
            if module.__name__ != Statement.__module__
            for name, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__ and _makes_statements(value)
        ]

        # Their callers keep what they make.
        assert hidden == [
            "todo.services.categories._update_statement",
            "todo.services.categories._trash",
            "todo.services.task_rows.updating",
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
        ],
    )
    def test_are_caught_when_they_ask_for_more(self, expression: Any, found: set[str]) -> None:
        assert unfiltered(Statement(expression)) == found

    @pytest.mark.parametrize(
        "expression",
        [
            select(_tasks.c.id).where(and_(OwnedByCaller(_tasks), _tasks.c.title == "x")),
            delete(_tasks).where(OwnedByCaller(_tasks)),
            insert(_tasks).values(user_id=bindparam("user_id")),
            select(literal(1)),
        ],
    )
    def test_are_let_through_when_they_do_not(self, expression: Any) -> None:
        assert unfiltered(Statement(expression)) == set()


def _makes_statements(function: Callable[..., Any]) -> bool:
    return "Statement" in function.__code__.co_names
