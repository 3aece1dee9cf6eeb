"""Every filter of the registry over HTTP: it finds the tasks that match, and no others."""

import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from httpx import AsyncClient

from support.categories import add_category
from support.filters import applied_filters
from support.tasks import add_task
from todo.models.fields import TASK_ID

Task = dict[str, Any]
Matches = Callable[[Task, list[str]], bool]

TODAY = date(2026, 3, 10)
MONDAY, SUNDAY = date(2026, 3, 9), date(2026, 3, 15)
OPEN = {"pending", "in_progress"}
TAGS: tuple[list[str], ...] = ([], ["a"], ["b"], ["a", "b"])
DUE = (None, "2026-03-01", "2026-03-09", "2026-03-10", "2026-03-10T08:00:00Z", "2026-03-14", "2026-03-20")


def end_of(day: date) -> datetime:
    """Return the last microsecond of a day, in UTC."""
    return datetime.combine(day, time.max, UTC)


def moment_of(due: str) -> datetime:
    """Return a due date as an instant of a user in UTC."""
    return end_of(date.fromisoformat(due)) if len(due) == 10 else datetime.fromisoformat(due).replace(tzinfo=UTC)


def is_due(task: Task, values: list[str]) -> bool:
    """Match by keyword, at noon of ``TODAY``."""
    if task["due_date"] is None:
        return values == ["none"]
    day, is_open = date.fromisoformat(task["due_date"][:10]), task["status"] in OPEN
    return {
        "none": False,
        "today": day == TODAY,
        "overdue": is_open and moment_of(task["due_date"]) < datetime.combine(TODAY, time(12), UTC),
        "upcoming": is_open and day > TODAY,
        "week": MONDAY <= day <= SUNDAY,
    }[values[0]]


def refers(field: str) -> Matches:
    """Match by id, or the tasks without a reference."""
    return lambda task, values: task[field] == (None if values == ["none"] else values[0])


def before(field: str) -> Matches:
    """Match times before a bound. A date stands for its start."""

    def matches(task: Task, values: list[str]) -> bool:
        [bound] = values
        limit = end_of(date.fromisoformat(bound) - timedelta(days=1)) if len(bound) == 10 else None
        moment = task[field] and moment_of(task[field])
        return moment is not None and (moment <= limit if limit else moment < moment_of(bound))

    return matches


def after(field: str) -> Matches:
    """Match times after a bound. A date stands for its end."""
    return lambda task, values: task[field] is not None and moment_of(task[field]) > moment_of(values[0])


# By the parameter of the filter.
MATCHES: Mapping[str, Matches] = {
    "status": lambda task, values: task["status"] in values,
    "priority": lambda task, values: task["priority"] in values,
    "category_id": refers("category_id"),
    "parent_id": refers("parent_id"),
    "trashed": lambda task, _: task["trashed_at"] is not None,
    "tag": lambda task, values: set(values) <= set(task["tags"]),
    "not_tag": lambda task, values: not set(values) & set(task["tags"]),
    "due": is_due,
    "due_before": before("due_date"),
    "due_after": after("due_date"),
    "completed_before": before("completed_at"),
    "completed_after": after("completed_at"),
    "created_before": before("created_at"),
    "created_after": after("created_at"),
    "updated_before": before("updated_at"),
    "updated_after": after("updated_at"),
}


async def add_tasks(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add tasks that differ in the fields that filters compare, on three days. Then make it noon of ``TODAY``."""
    await add_category(client, id=TASK_ID)
    tags, due, priorities = itertools.cycle(TAGS), itertools.cycle(DUE), itertools.cycle(("low", "medium", "high"))
    for number in range(27):
        now = datetime.combine(TODAY + timedelta(days=number // 9 - 1), time(8 + number % 9 // 4), UTC)
        monkeypatch.setattr("todo.routes.tasks.utc_now", lambda now=now: now)
        task = await add_task(
            client,
            **({"id": TASK_ID} if number == 0 else {}),
            status=("pending", "completed", "in_progress", "cancelled")[number % 4],
            priority=next(priorities),
            tags=next(tags),
            due_date=next(due),
            category_id=TASK_ID if number % 2 else None,
            parent_id=TASK_ID if number % 5 == 1 else None,
        )
        if number % 8 == 7:
            assert (await client.delete(f"/tasks/{task['id']}")).status_code == 204
    now = datetime.combine(TODAY, time(12), UTC)
    monkeypatch.setattr("todo.routes.tasks.utc_now", lambda: now)


async def ids_of(client: AsyncClient, query: str) -> set[str]:
    """Return the ids that a query finds."""
    response = await client.get(f"/tasks?{query}&limit=100")
    assert response.status_code == 200, response.text
    return {task["id"] for task in response.json()["tasks"]}


# Task: T-451
async def test_every_filter_finds_the_tasks_that_match_and_no_others(
    alice: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_tasks(alice, monkeypatch)
    tasks = [
        task
        for query in ("", "trashed=true")
        for task in (await alice.get(f"/tasks?{query}&limit=100")).json()["tasks"]
    ]

    for applied in applied_filters():
        name, example = applied.filter.parameter, applied.variant.example
        assert name in MATCHES, f"say in MATCHES, in this file, which tasks the filter {name} finds"
        values = [value for _, value in parse_qsl(example)]
        visible = [task for task in tasks if task["trashed_at"] is None or name == "trashed"]
        expected = {task["id"] for task in visible if MATCHES[name](task, values)}
        others = {task["id"] for task in visible} - expected
        assert expected, f"no task matches {example}: add one in add_tasks, in this file"
        assert others, f"every task matches {example}: add another one in add_tasks, in this file"
        assert await ids_of(alice, example) == expected, example
