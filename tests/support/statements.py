"""All statements of the services and the database layer, including those that functions build."""

import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, get_type_hints

from support.filters import NOW, applied_filters, combined_examples, query_of
from todo import database, services
from todo.database import Statement
from todo.kit.recurrence import Rule
from todo.models.categories import TaskDisposition
from todo.services.entities import ENTITIES, Entity
from todo.services.task_list import filters, search
from todo.services.task_list import page as task_list
from todo.services.task_list.filter_types import AppliedFilter
from todo.services.tasks.create import CREATE

# No filter, each variant of each filter alone, and all filters together.
_FILTERS = [
    filters.read(query_of(text), now=NOW)[0]
    for text in ("", *(applied.variant.example for applied in applied_filters()), *combined_examples())
]

# Arguments for functions that build statements, by the type of the parameter. ``with_stored_response`` accepts any
# statement.
_EXAMPLES: Mapping[Any, list[Any]] = {
    bool: [False, True],
    TaskDisposition: list(TaskDisposition),
    # The filters with counters.
    tuple[AppliedFilter, ...]: list(
        dict.fromkeys(tuple(each for each in applied if each.filter.counter) for applied in _FILTERS)
    ),
    Entity: list(ENTITIES.values()),
    Statement: [CREATE],
    search.SearchShape: [
        search.SearchShape(words, several, chosen, *[more] * 5)
        for words, several, chosen, more in itertools.product([False, True], repeat=4)
    ],
    task_list.QueryShape: [
        task_list.QueryShape(applied, sort, words, None, skips, if_none_match)
        for applied in _FILTERS
        for sort, words in (
            (("-due_date", "priority"), None),
            ((), search.SearchShape(*[True, True, False], *[True] * 5)),
        )
        for skips, if_none_match in ((False, False), (True, True))
    ],
}

# Arguments for parameters that take names of columns, by module.
_NAMES: Mapping[str, Sequence[tuple[str, ...]]] = {
    "categories": [("name",), ("archived", "name")],
    "profiles": [("time_zone",), ("day_start", "time_zone")],
    "statements": [("title",), ("status", "title")],
    "update": [("title",), ("status", "title")],
    "move": [("category_id",), ("category_id", "parent_id")],
    "undo": [("updated_at",)],
    "views": [("name",), ("name", "query")],
}

# Return types of cached functions that build no statements.
_NO_STATEMENTS = (Rule,)


def modules() -> Iterator[ModuleType]:
    for package in (services, database):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


def _makers(module: ModuleType) -> list[Callable[..., Any]]:
    """Return the cached functions of a module that build statements. Their return annotation decides."""
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
    assert examples, f"add examples of {kind} for {module}.{maker.__name__} to _EXAMPLES or _NAMES in this file"
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
    """Yield every statement of the services and the database layer with its qualified name."""
    for module in modules():
        found = [(name, value) for name, value in vars(module).items()]
        found += [(maker.__name__, made) for maker in _makers(module) for made in _made_by(maker)]
        for name, value in found:
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, Statement):
                    yield f"{module.__name__}.{name}", each
