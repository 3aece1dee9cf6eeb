"""The registry of filters: every parameter is declared once and completely, and queries are read by it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import pytest
from pydantic import Field
from sqlalchemy import Integer, bindparam

from support.filters import NOW, problems_of, query_of
from todo.models.base import table_of
from todo.models.task_list import DueFilter, TaskFilter
from todo.models.tasks import TaskCount
from todo.models.values import DIGITS_ONLY, Status, WholeNumber
from todo.services.task_list import filters
from todo.services.task_list.filter_types import FLAG, MULTI, SET, SINGLE, SINGLE_VALUE, Filter, Kind, Variant
from todo.services.task_list.filters import REGISTRY
from todo.services.tasks.statements import now, tasks

IN_REGISTRY = "in REGISTRY of services/task_list/filters.py"
NOT_BOUND = "which the kind does not set; change one of them"


class FilterByPosition(TaskFilter):
    """The filters, and one that a developer adds."""

    position_max: Annotated[int, Field(ge=1, le=10_080), DIGITS_ONLY] | None = None


class FilterWithoutLimits(TaskFilter):
    """A filter whose numbers have no limits."""

    position_max: WholeNumber | None = None


VARIANT = Variant(example="position_max=30", index="ix_tasks_user_id_position", default_sort=("position",))
POSITION = Filter(
    "position_max",
    SINGLE_VALUE,
    lambda *_: tasks.c.position <= bindparam("position_max", type_=Integer),
    {SINGLE: VARIANT},
)


def declared(parameter: str) -> Filter:
    """Return a filter of the registry."""
    return next(each for each in REGISTRY if each.parameter == parameter)


def always_single(parameter: str, value: object, values: dict[str, object]) -> str:
    """Read any value as a filter, also one that is not set."""
    values[parameter] = value
    return SINGLE


def with_variant(of: Filter, name: str, variant: Variant) -> Filter:
    """Return a filter with another declaration of a variant."""
    return replace(of, variants={**of.variants, name: variant})


# Task: T-451
class TestRegistry:
    def test_every_filter_parameter_is_declared_once_and_completely(self) -> None:
        assert problems_of(REGISTRY) == []

    def test_number_without_limits_is_reported(self) -> None:
        [problem] = problems_of([*REGISTRY, POSITION], FilterWithoutLimits)

        assert problem.startswith("position_max: a number outside of the column's range would be an error")

    def test_new_filter_needs_a_field_and_one_declaration(self) -> None:
        assert set(problems_of([*REGISTRY, POSITION], FilterByPosition)) <= set(problems_of(REGISTRY))

    @pytest.mark.parametrize(
        ("registry", "model", "problem"),
        [
            (
                REGISTRY,
                FilterByPosition,
                f'position_max: the parameter is accepted and ignored; add a Filter("position_max", ...) {IN_REGISTRY}',
            ),
            (
                [*REGISTRY, POSITION],
                TaskFilter,
                "position_max: there is no such parameter; add a field to TaskFilter in models/task_list.py",
            ),
            (
                [*REGISTRY, POSITION, POSITION],
                FilterByPosition,
                f"position_max: several filters have this parameter; keep one {IN_REGISTRY}",
            ),
        ],
    )
    def test_parameter_without_exactly_one_filter_is_reported(
        self, registry: Sequence[Filter], model: type[TaskFilter], problem: str
    ) -> None:
        assert problem in problems_of(registry, model)

    @pytest.mark.parametrize(
        ("faulty", "problem"),
        [
            (
                replace(POSITION, variants={}),
                'position_max: there is no example of "single"; add a Variant for it',
            ),
            (
                replace(POSITION, variants={SINGLE: VARIANT, MULTI: VARIANT}),
                'position_max: its kind never makes the variant "multi"; remove it',
            ),
            (
                replace(POSITION, kind=Kind((SINGLE,), always_single)),
                'position_max: a query without it has the variant "single"; choose another kind',
            ),
            (
                replace(POSITION, kind=FLAG, variants={SET: VARIANT}),
                f"position_max set: the condition has the bind parameter position_max, {NOT_BOUND}",
            ),
            (
                with_variant(POSITION, SINGLE, replace(VARIANT, index="")),
                "position_max single: no plan is expected; add the index that the list of the example has to scan",
            ),
            (
                with_variant(POSITION, SINGLE, replace(VARIANT, scans="")),
                "position_max single: ``scans`` is empty; write why a scan that also reads other tasks is good enough",
            ),
            (
                with_variant(POSITION, SINGLE, replace(VARIANT, default_sort=("-due_date",))),
                "position_max single: it sorts by due_date, which may be null; add due_date to ``non_null_keys``",
            ),
            *(
                (
                    with_variant(POSITION, SINGLE, replace(VARIANT, example=example)),
                    f'position_max single: the example "{example}" does not have this variant alone; add one that has',
                )
                for example in ("", "due=today", "position_max=30&due=today")
            ),
            (
                replace(POSITION, condition=lambda *_: tasks.c.created_at < now),
                "position_max single: ``is_time_dependent`` has to be True, like the condition; correct it",
            ),
            (
                with_variant(POSITION, SINGLE, replace(VARIANT, is_time_dependent=True)),
                "position_max single: ``is_time_dependent`` has to be False, like the condition; correct it",
            ),
        ],
    )
    def test_incomplete_declaration_is_reported_with_the_place_and_the_remedy(
        self, faulty: Filter, problem: str
    ) -> None:
        problems = set(problems_of([*REGISTRY, faulty], FilterByPosition))

        assert problems - set(problems_of([*REGISTRY, POSITION], FilterByPosition)) == {f"{problem} {IN_REGISTRY}"}

    def test_filters_with_counters_are_the_keys_of_the_counters(self) -> None:
        keys = set(table_of(TaskCount).primary_key.columns.keys()) - {"user_id"}

        assert {each.parameter for each in REGISTRY if each.counter is not None} == keys


# Task: T-451
class TestRead:
    def test_filters_are_read_in_the_order_of_the_registry_with_their_bind_parameters(self) -> None:
        query = query_of("due_before=2026-03-10&tag=Home&tag=work&not_tag=Work&parent_id=none&status=pending")

        asked, values = filters.read(query, now=NOW)

        assert [str(each) for each in asked] == [
            "status single",
            "parent_id none",
            "tag multi",
            "not_tag set",
            "due_before date",
        ]
        assert values == {
            "now": NOW,
            "status": Status.pending,
            "tag_key": "home",
            "tag_keys": ["home", "work"],
            "unwanted_tag_keys": ["work"],
            "due_before": "2026-03-10",
        }

    def test_values_of_both_names_of_a_filter_are_combined(self) -> None:
        asked, values = filters.read(query_of("status_filter=pending&status=completed"), now=NOW)

        assert asked == (declared("status").applied[MULTI],)
        assert values["status"] == [Status.completed, Status.pending]

    def test_parameters_that_are_given_but_empty_set_no_filter(self) -> None:
        query = TaskFilter(status=[], tag=[], not_tag=[], trashed=False, due=None, due_before=None, category_id=None)

        asked, _ = filters.read(query, now=NOW)

        assert asked == ()

    def test_number_zero_is_a_value(self) -> None:
        values: dict[str, object] = {}

        variant = SINGLE_VALUE.read("position_max", 0, values)

        assert (variant, values) == (SINGLE, {"position_max": 0})

    def test_every_due_keyword_is_a_variant(self) -> None:
        for due in DueFilter:
            asked, _ = filters.read(TaskFilter(due=due), now=NOW)
            assert asked == (declared("due").applied[due.value],)


# Task: T-451
def test_parameters_of_the_same_filter_are_found() -> None:
    assert filters.parameters_like({"status_filter", "due", "q"}) == {"status", "status_filter", "due", "q"}
