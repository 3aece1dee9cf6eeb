"""The filter registry in tests: queries built from its examples, and checks of its declarations."""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, get_origin
from urllib.parse import parse_qsl

from pydantic import TypeAdapter
from sqlalchemy import select

from todo.database import Statement
from todo.database.statements import USER_ID, Dialect
from todo.models.task_list import TaskFilter, TaskQuery
from todo.services.task_list import sorting
from todo.services.task_list.filter_types import AppliedFilter, Context, Filter
from todo.services.task_list.filters import REGISTRY
from todo.services.tasks.statements import tasks

NOW = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)

# The fields of ``TaskFilter`` that are not in the registry.
_NO_FILTERS = {"q", "sort"}
# The range of PostgreSQL's type integer.
_MAX_INTEGER = 2**31 - 1
_IN_REGISTRY = "in REGISTRY of services/task_list/filters.py"


def query_of(text: str) -> TaskQuery:
    """Parse a query string as a route does."""
    query: TaskQuery = _parsed(TaskQuery, text)
    return query


def _parsed(model: type[TaskFilter], text: str) -> Any:
    lists = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}
    raw: dict[str, Any] = {}
    for name, value in parse_qsl(text):
        if name in lists:
            raw.setdefault(name, []).append(value)
        else:
            raw[name] = value
    return TypeAdapter(model).validate_python(raw)


def applied_filters() -> list[AppliedFilter]:
    """Return each filter of the registry with each of its variants."""
    return [applied for each in REGISTRY for applied in each.applied.values()]


def combined_examples() -> list[str]:
    """Return query strings that set all filters at once; half of them list the trash.

    Together they contain each variant of each filter.
    """
    variants = [list(each.variants.values()) for each in REGISTRY if each.parameter != "trashed"]
    most = max(len(of_filter) for of_filter in variants)
    queries = ["&".join(of_filter[n % len(of_filter)].example for of_filter in variants) for n in range(most)]
    return [*queries, *(f"{query}&trashed=true" for query in queries)]


def problems_of(registry: Sequence[Filter], model: type[TaskFilter] = TaskFilter) -> list[str]:
    """Return the errors in the declarations of filters, each with what to change and where."""
    fields = set(model.model_fields) - _NO_FILTERS
    problems = list(_problems_of_parameters([name for each in registry for name in each.parameters], fields))
    problems += _problems_of_numbers(model)
    for each in registry:
        if set(each.parameters) <= fields:
            problems += _problems_of_variants(each, model)
    return problems


def _problems_of_parameters(parameters: list[str], fields: set[str]) -> Iterator[str]:
    for name in sorted(fields - set(parameters)):
        yield f'{name}: the parameter is accepted and ignored; add a Filter("{name}", ...) {_IN_REGISTRY}'
    for name in sorted(set(parameters) - fields):
        yield f"{name}: there is no such parameter; add a field to TaskFilter in models/task_list.py"
    for name in sorted({name for name in parameters if parameters.count(name) > 1}):
        yield f"{name}: several filters have this parameter; keep one {_IN_REGISTRY}"


def _problems_of_numbers(model: type[TaskFilter]) -> Iterator[str]:
    for name, described in TypeAdapter(model).json_schema()["properties"].items():
        for option in described.get("anyOf", [described]):
            if option.get("type") == "integer" and option.get("maximum", math.inf) > _MAX_INTEGER:
                yield (
                    f"{name}: a number outside of the column's range would be an error of the server; declare"
                    " Annotated[int, Field(ge=..., le=...), DIGITS_ONLY] in models/task_list.py"
                )


def _problems_of_variants(each: Filter, model: type[TaskFilter]) -> Iterator[str]:
    for name in sorted(set(each.kind.variants) - set(each.variants)):
        yield f'{each.parameter}: there is no example of "{name}"; add a Variant for it {_IN_REGISTRY}'
    for name in sorted(set(each.variants) - set(each.kind.variants)):
        yield f'{each.parameter}: its kind never makes the variant "{name}"; remove it {_IN_REGISTRY}'
    unset = each.kind.read(each.parameter, each.value_of(model()), {})
    if unset is not None:
        yield f'{each.parameter}: a query without it has the variant "{unset}"; choose another kind {_IN_REGISTRY}'
    for applied in each.applied.values():
        if applied.name in each.kind.variants:
            yield from (f"{applied}: {problem} {_IN_REGISTRY}" for problem in _problems_of(applied, model))


def _problems_of(applied: AppliedFilter, model: type[TaskFilter]) -> Iterator[str]:
    each, variant = applied.filter, applied.variant
    if not variant.index:
        yield "no plan is expected; add the index that the list of the example has to scan"
    if variant.scans == "":
        yield "``scans`` is empty; write why a scan that also reads other tasks is good enough"
    sorted_by = {key.removeprefix("-") for key in variant.default_sort}
    for key in sorted(sorted_by & sorting._NULLABLE - variant.non_null_keys):
        yield f"it sorts by {key}, which may be null; add {key} to ``non_null_keys``"
    values: dict[str, Any] = {}
    query = _parsed(model, variant.example)
    read = each.kind.read(each.parameter, each.value_of(query), values)
    if read != applied.name or not query.model_fields_set <= set(each.parameters):
        yield f'the example "{variant.example}" does not have this variant alone; add one that has'
        return
    named = _parameters_of_condition(applied)
    for name in sorted(named - {USER_ID, "now"} - set(values)):
        yield f"the condition has the bind parameter {name}, which the kind does not set; change one of them"
    if ("now" in named) != variant.is_time_dependent:
        yield f"``is_time_dependent`` has to be {'now' in named}, like the condition; correct it"


def _parameters_of_condition(applied: AppliedFilter) -> set[str]:
    conditions = [applied.filter.condition(applied.name, Context(is_trashed=trashed)) for trashed in (False, True)]
    statement = Statement(select(tasks.c.id).where(*(each for each in conditions if each is not None)))
    return set(statement.text(Dialect()).names)
