"""AND of several tags or words: probing by key and hashing return the same tasks, and cursors work across both."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest
from httpx import AsyncClient

from support.tasks import read_all_pages
from todo.services.task_list import intersection, search
from todo.services.task_list import page as task_list

TAGS = ("a", "b", "c")
WORDS = ("oat", "milk", "soy")


@pytest.fixture(params=[0, 4, 100])
def probe_limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set how many rows are probed at least before the ids are hashed: none, some of a test's rows, all of them."""
    makers = (search.fragments, search._ranked, task_list._statements)
    monkeypatch.setattr(intersection, "MIN_PROBES", request.param)
    for maker in makers:
        maker.cache_clear()
    yield
    for maker in makers:
        maker.cache_clear()


async def some_tasks(client: AsyncClient) -> list[dict[str, Any]]:
    """Create tasks with random tags and with random words in every field; return them, newest first."""
    rng = random.Random(3)

    def some(of: tuple[str, ...]) -> list[str]:
        return [each for each in of if rng.random() < 0.5]

    operations = [
        {
            "op": "create",
            "task": {
                "title": " ".join([f"Task {number}", *some(WORDS)]),
                "tags": [*some(TAGS), *some(WORDS[:2])],
                "description": " ".join(some(WORDS)),
            },
        }
        for number in range(70)
    ]
    made = (await client.post("/tasks/batch", json={"operations": operations})).json()
    trashed = [result["task"]["id"] for result in made["results"][::9]]
    for task_id in trashed:
        await client.delete(f"/tasks/{task_id}")
    tasks: list[dict[str, Any]] = (await client.get("/tasks?limit=100")).json()["tasks"]
    return tasks


async def ids_of(client: AsyncClient, query: str) -> list[str]:
    """Return the ids that a query finds, read page by page."""
    return [task["id"] for task in await read_all_pages(client, query, limit=3)]


def has_words(task: dict[str, Any], words: tuple[str, ...]) -> bool:
    return set(words) <= {*task["title"].split(), *task["tags"], *(task["description"] or "").split()}


# Task: T-376
@pytest.mark.usefixtures("probe_limit")
class TestIntersection:
    async def test_tasks_with_all_tags_are_listed_once_in_order_across_pages(self, alice: AsyncClient) -> None:
        tasks = await some_tasks(alice)

        for tags in [*itertools.permutations(TAGS, 2), TAGS, ("a", "zebra"), ("A", "a")]:
            expected = [task["id"] for task in tasks if {tag.lower() for tag in tags} <= set(task["tags"])]
            asked = "&".join(f"tag={tag}" for tag in tags)
            assert (tags, await ids_of(alice, asked)) == (tags, expected)
            assert await ids_of(alice, f"{asked}&sort=created_at") == expected[::-1]
            without = [task["id"] for task in tasks if task["id"] in expected and "oat" not in task["tags"]]
            assert await ids_of(alice, f"{asked}&not_tag=oat") == without
            assert (await alice.get(f"/tasks?{asked}")).json()["total"] == len(expected)

    async def test_tasks_with_all_words_are_listed_once_in_order_across_pages(self, alice: AsyncClient) -> None:
        tasks = await some_tasks(alice)

        for words in [*itertools.permutations(WORDS, 2), WORDS, ("oat", "zebra")]:
            expected = [task["id"] for task in tasks if has_words(task, words)]
            found = await ids_of(alice, f"q={' '.join(words)}")
            whole = (await alice.get(f"/tasks?q={' '.join(words)}&limit=100")).json()
            assert (words, sorted(found)) == (words, sorted(expected))
            assert (found, whole["total"]) == ([task["id"] for task in whole["tasks"]], len(expected))
            assert await ids_of(alice, f"q={' '.join(words)}&sort=created_at") == expected[::-1]
            tagged = [task["id"] for task in tasks if task["id"] in expected and {"a", "b"} <= set(task["tags"])]
            assert sorted(await ids_of(alice, f"q={' '.join(words)}&tag=a&tag=b")) == sorted(tagged)
