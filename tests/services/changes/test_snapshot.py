"""The snapshot, page by page, with entities that are paged after the tasks."""

import base64
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from support.service_harness import NOW, ServiceHarness, opened
from todo.errors import Invalid
from todo.models.categories import CategoryCreate, CategoryUpdate, TaskDisposition
from todo.models.entities import InSnapshot
from todo.models.profiles import ProfileUpdate
from todo.models.views import ViewCreate, ViewQuery
from todo.services import categories, changes, profiles, views
from todo.services.entities import ENTITIES, Entity

NIL = "00000000-0000-0000-0000-000000000000"


def paged(name: str) -> Entity:
    """The entity as it would be with more objects than fit on the first page."""
    entity = ENTITIES[name]
    return replace(entity, models=replace(entity.models, in_snapshot=InSnapshot.paged))


# These tests do not depend on entities that are added later.
WHOLE: Mapping[str, Entity] = {name: ENTITIES[name] for name in ("task", "category", "view", "profile")}
PAGED: Mapping[str, Entity] = {**WHOLE, "category": paged("category"), "view": paged("view")}


def cursor_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


class Books(ServiceHarness):
    """A user who has tasks, categories, views and a profile."""

    async def add_category(self, name: str) -> str:
        answer, _ = await categories.create(self.session, CategoryCreate(name=name), now=NOW)
        return str(answer.content["id"])

    async def add_view(self, name: str) -> str:
        row, _ = await views.create(self.session, ViewCreate(name=name, query=ViewQuery()), now=NOW)
        return str(row["id"])

    async def fill(self) -> None:
        for number in range(5):
            await self.add(title=f"Task {number}")
            await self.add_category(f"Category {number}")
        await self.add_view("View")
        await profiles.change(self.session, ProfileUpdate(time_zone="Europe/Berlin"), now=NOW)

    async def page(
        self, cursor: str | None = None, *, limit: int = 2, entities: Mapping[str, Entity] = PAGED
    ) -> dict[str, Any]:
        return await changes.snapshot(self.session, cursor, limit=limit, entities=entities)

    async def pages(self, *, limit: int = 2, entities: Mapping[str, Entity] = PAGED) -> list[dict[str, Any]]:
        pages = [await self.page(limit=limit, entities=entities)]
        while pages[-1]["next_cursor"]:
            pages.append(await self.page(pages[-1]["next_cursor"], limit=limit, entities=entities))
        return pages


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Callable[[], Books]]:
    async with opened(database_url, Books) as make:
        yield make


@pytest.fixture
def alice(books: Callable[[], Books]) -> Books:
    return books()


# Task: T-452
class TestPagedEntities:
    async def test_paged_entities_follow_the_tasks_one_after_another(self, alice: Books) -> None:
        await alice.fill()

        pages = await alice.pages()

        assert [[len(page[name]) for name in ("tasks", "categories", "views")] for page in pages] == [
            *([2, 0, 0], [2, 0, 0], [1, 0, 0]),
            *([0, 2, 0], [0, 2, 0], [0, 1, 0]),
            [0, 0, 1],
        ]
        assert [page["profile"] is not None for page in pages] == [True, *[False] * 6]
        assert {page["revision"] for page in pages} == {12}
        assert [list(page) for page in pages] == [[*pages[0]]] * 7

    async def test_complete_lists_are_on_the_first_page_and_the_last_tasks_are_the_end(self, alice: Books) -> None:
        await alice.fill()

        pages = await alice.pages(entities=WHOLE)

        assert [[len(page[name]) for name in ("tasks", "categories", "views")] for page in pages] == [
            *([2, 5, 1], [2, 0, 0], [1, 0, 0])
        ]
        assert [page["profile"] is not None for page in pages] == [True, False, False]

    async def test_pages_hold_what_the_complete_lists_hold(self, alice: Books) -> None:
        await alice.fill()
        whole = await alice.page(limit=500, entities=WHOLE)

        pages = await alice.pages()

        for name in ("tasks", "categories", "views"):
            found = [thing for page in pages for thing in page[name]]
            assert found == sorted(whole[name], key=lambda thing: UUID(thing["id"]))
        assert (pages[0]["profile"], whole["next_cursor"]) == (whole["profile"], None)

    async def test_a_user_without_any_objects_gets_one_empty_page_per_paged_entity(self, alice: Books) -> None:
        pages = await alice.pages()

        empty: dict[str, Any] = {"tasks": [], "categories": [], "views": [], "profile": None, "revision": 0}
        assert [{**page, "next_cursor": None} for page in pages] == [{**empty, "next_cursor": None}] * 3

    @pytest.mark.parametrize("limit", [1, 5, 6])
    async def test_every_page_takes_one_round_trip(self, alice: Books, limit: int) -> None:
        await alice.fill()
        alice.trips.count = 0

        pages = await alice.pages(limit=limit)

        assert alice.trips.count == len(pages)

    async def test_pages_and_feed_are_consistent_if_categories_change_in_between(self, alice: Books) -> None:
        await alice.fill()
        pages = [await alice.page()]
        while not pages[-1]["categories"]:
            pages.append(await alice.page(pages[-1]["next_cursor"]))
        read = pages[-1]["categories"]
        await categories.remove(alice.session, UUID(read[0]["id"]), leftover=TaskDisposition.keep, now=NOW)
        await categories.change(alice.session, UUID(read[1]["id"]), CategoryUpdate(name="Renamed"), now=NOW)
        await categories.create(alice.session, CategoryCreate(name="First", id=UUID(NIL)), now=NOW)
        # The object at which the next page starts.
        [row] = alice.sql("SELECT id FROM categories WHERE user_id = %(user)s ORDER BY id OFFSET 2 LIMIT 1")
        await categories.remove(alice.session, row["id"], leftover=TaskDisposition.keep, now=NOW)

        while pages[-1]["next_cursor"]:
            pages.append(await alice.page(pages[-1]["next_cursor"]))
        copy = {thing["id"]: thing for page in pages for thing in page["categories"]}
        for change in (await changes.since(alice.session, pages[0]["revision"], limit=100)).changes:
            copy |= {change["id"]: change["state"]}

        now = await alice.page(limit=100, entities=WHOLE)
        assert {thing_id: thing for thing_id, thing in copy.items() if thing} == {
            thing["id"]: thing for thing in now["categories"]
        }

    @pytest.mark.parametrize(
        "text", ["1.profile." + NIL, "1.nothing." + NIL, "1." + NIL, "1.category.", "1.category.1", "1.category"]
    )
    async def test_a_cursor_that_names_no_paged_entity_or_no_id_is_refused(self, alice: Books, text: str) -> None:
        with pytest.raises(Invalid):
            await alice.page(cursor_of(text))

    async def test_a_cursor_of_a_list_that_is_not_paged_is_refused(self, alice: Books) -> None:
        with pytest.raises(Invalid):
            await alice.page(cursor_of("1.category." + NIL), entities=WHOLE)


# Task: T-452
class TestFirstId:
    async def test_the_snapshot_contains_a_task_with_the_least_id(self, alice: Books) -> None:
        await alice.add(id=UUID(NIL))
        await alice.add()

        first, second = await alice.pages(limit=1, entities=WHOLE)

        assert [task["id"] for task in first["tasks"]] == [NIL]
        assert len(second["tasks"]) == 1
