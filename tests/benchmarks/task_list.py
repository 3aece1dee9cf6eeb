"""The cost of queries for a user with a hundred tasks and for one with a hundred thousand.

Pages have the same length for both. What differs is the number of tasks that are not on the page.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode

import orjson

from benchmarks import data, load
from benchmarks.load import Request
from benchmarks.measure import ROOT, Bench, Figures, median
from benchmarks.sections import Note, Results
from benchmarks.servers import Server
from support.filters import applied_filters
from todo.services.task_list.filter_types import DATE, INSTANT, LOCAL, MULTI, SET, SINGLE, AppliedFilter

# Short enough that a hundred tasks fill a page of nearly every query.
LIMIT = 10
_CONNECTIONS = 2
_AT_ONCE = 10
# Queries that are much too slow need no precise figures.
_MAX_SECONDS = 4.0

SORTS = (
    "created_at", "updated_at", "completed_at", "due_date", "start_date", "priority", "status", "title", "position",
)  # fmt: skip
SEARCHES = {
    "a word of all": "task",
    "a word of a quarter": "milk",
    "a word of one": "99",
    "two words": "oat lemons",
    "two words that never meet": "bank tomatoes",
    "a word and a rare one": "task 99",
    "a prefix": "contr*",
    "a short prefix": "t*",
    "a phrase": '"oat milk"',
    "without a word": "task -milk",
    "nothing": "zebra",
}


def filters(category_id: str, parent_id: str, *, now: datetime) -> dict[str, dict[str, str]]:
    """Return the query strings for ``GET /tasks`` by group and name. ``now`` is in UTC."""
    narrowing: dict[str, Mapping[str, object]] = {
        **_examples(category_id, parent_id, now),
        "two tags that never meet": {"tag": ["work", "errand"]},
        "several": {"status": "pending", "priority": "high", "category_id": category_id, "not_tag": "urgent"},
        "tag and due": {"tag": "urgent", "due": "week"},
    }
    queries: dict[str, dict[str, Mapping[str, object]]] = {
        "filter": {"none": {}, **narrowing},
        "sort": {
            **{key: {"sort": key} for key in SORTS},
            **{f"-{key}": {"sort": f"-{key}"} for key in SORTS},
            "several": {"sort": "-priority,due_date,title"},
            "of a filter": {"status": "pending", "sort": "due_date"},
        },
        "search": {
            **{name: {"q": words} for name, words in SEARCHES.items()},
            "in a filter": {"q": "milk", "status": ["pending", "in_progress"]},
        },
    }
    return {
        group: {name: urlencode({**query, "limit": LIMIT}, doseq=True) for name, query in named.items()}
        for group, named in queries.items()
    }


# Task: T-451
def _examples(category_id: str, parent_id: str, now: datetime) -> dict[str, Mapping[str, object]]:
    """Return the examples of the filter registry, with values that occur in the data."""
    # At least two whole days have passed since then. Six tasks a day are completed, so at least twelve match.
    three_days_ago, today = ((now.date() + timedelta(days)).isoformat() for days in (-3, 0))
    of_data = {
        f"category_id {SINGLE}": [category_id],
        f"parent_id {SINGLE}": [parent_id],
        f"tag {SINGLE}": ["work"],
        f"tag {MULTI}": ["home", "urgent"],
        f"not_tag {SET}": ["urgent"],
    }
    queries: dict[str, Mapping[str, object]] = {}
    for applied in applied_filters():
        # Bounds of other kinds scan the same rows, and are computed faster.
        if applied.name in (LOCAL, INSTANT):
            continue
        [(parameter, values)] = parse_qs(applied.variant.example).items()
        if applied.name == DATE:
            values = [today if parameter.endswith("_before") else three_days_ago]
        queries[_name_of(applied)] = {parameter: of_data.get(str(applied), values)}
    return queries


def _name_of(applied: AppliedFilter) -> str:
    words = applied.filter.parameter.replace("_", " ")
    return words if applied.name in (SET, SINGLE, DATE) else f"{words} {applied.name}"


# Task: T-382
async def finding(bench: Bench, server: Server, note: Note) -> Results:
    """Return the cost of each query for the two users."""
    sizes = {"100 tasks": data.SMALL, f"{bench.size.big:,} tasks": data.BIG}
    named_requests = {name: await requests(bench, server, user) for name, user in sizes.items()}
    results: Results = {}
    for what in next(iter(named_requests.values())):
        note(f"{what}, of {' and '.join(sizes)}")
        turns: dict[str, list[Figures]] = {name: [] for name in sizes}
        for number in range(1 + bench.size.side_rounds):
            for name in sizes:
                figures = await _turn(bench, server, named_requests[name][what])
                # The first turn only prepares statements and fills caches.
                if number:
                    turns[name].append(figures)
        results[what] = {name: median(figures) for name, figures in turns.items()}
    return results


async def requests(bench: Bench, server: Server, user: str) -> dict[str, Request]:
    """Return the requests of a user by name."""
    token = data.token_of(user)
    category_id, parent_id = bench.some_places(user)
    named = {
        f"{group}: {name}": Request("GET", f"{ROOT}?{query}", token)
        for group, queries in filters(category_id, parent_id, now=datetime.now(UTC)).items()
        for name, query in queries.items()
    }
    for name, query in {"newest first": "", "by title": "&sort=title", "of a search": "&q=milk"}.items():
        listed = f"{ROOT}?limit={LIMIT}{query}"
        total = (await _page(server, Request("GET", listed, token)))["total"]
        middle = await _page(server, Request("GET", f"{listed}&skip={max(0, total // 2 - LIMIT)}", token))
        named[f"cursor: {name}"] = Request("GET", f"{listed}&{urlencode({'cursor': middle['next_cursor']})}", token)
    for path in ("tags", "categories", "stats"):
        named[f"GET /{path}"] = Request("GET", f"/api/v1/{path}", token)
    return named


async def _page(server: Server, request: Request) -> dict[str, Any]:
    page: dict[str, Any] = orjson.loads((await load.answer(server.port, request)).partition(b"\r\n\r\n")[2])
    return page


async def _turn(bench: Bench, server: Server, request: Request) -> Figures:
    """Send the request ``finds`` times or for ``_MAX_SECONDS``, a few at once."""
    until = time.monotonic() + _MAX_SECONDS
    parts: list[Figures] = []
    while len(parts) * _AT_ONCE < bench.size.finds and time.monotonic() < until:
        parts.append(await bench.figures(server, [request] * _AT_ONCE, once=True, connections=_CONNECTIONS))
        await asyncio.sleep(0)
    return median(parts)
