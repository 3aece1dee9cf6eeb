"""Tasks over HTTP: create, read, list, delete. Alice owns tasks; Bob must not learn that they exist."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient

from support.tasks import (
    ACCOUNT_GONE,
    BLANK,
    NO_SUCH_FIELD,
    NOT_FOUND,
    PRIORITY_EXPECTED,
    STATUS_EXPECTED,
    UNSET,
    UUID_EXPECTED,
    WRONG_FIELDS,
    add_task,
    instant,
    invalid,
    problem_of,
    tasks_of,
)
from todo.kit.ids import uuid7

EMPTY_PAGE = {"tasks": [], "total": 0, "total_is_exact": True, "page": 1, "page_size": 0, "next_cursor": None}
ID_TAKEN = {
    "type": "about:blank",
    "title": "Conflict",
    "status": 409,
    "detail": "You already have another task with this id. Choose a new id.",
    "code": "id_taken",
}


# Task: T-031
class TestCreateTask:
    async def test_create_with_only_a_title_sets_the_defaults(self, alice: AsyncClient) -> None:
        before = datetime.now(UTC)

        response = await alice.post("/tasks", json={"title": "Buy milk"})

        task = response.json()
        assert response.status_code == 201
        assert response.headers["location"] == f"/api/v1/tasks/{task['id']}"
        assert response.headers["content-type"] == "application/json"
        assert task == {
            "id": task["id"],
            **UNSET,
            "title": "Buy milk",
            "position": "500000000000001",
            "created_at": task["created_at"],
            "updated_at": task["created_at"],
            "revision": 1,
        }
        assert response.headers["etag"] == '"1"'
        assert UUID(task["id"]).version == 7
        assert before <= instant(task["created_at"]) <= datetime.now(UTC)

    async def test_create_stores_every_field(self, alice: AsyncClient) -> None:
        parent, category_id = await add_task(alice), str(uuid7())
        await alice.post("/categories", json={"id": category_id, "name": "Kitchen"})
        body = {
            "id": str(uuid7()),
            "title": "Prendre du café ☕",
            "description": "# Beans\n\n  *not* ground \u202e\r\n",
            "status": "cancelled",
            "priority": "high",
            "due_date": "2026-03-10T09:00:00",
            "due_time_zone": "Europe/Paris",
            "start_date": "2026-03-09",
            "recurrence": {"rule": "FREQ=WEEKLY;INTERVAL=1", "from": "due", "month_end": "clamp", "missed": "keep"},
            "category_id": category_id,
            "parent_id": parent["id"],
            "tags": ["Corner shop", "errand"],
        }

        response = await alice.post("/tasks", json=body)

        task = response.json()
        created = {name: task[name] for name in ("created_at", "updated_at", "position", "revision")}
        assert (response.status_code, task) == (201, {**UNSET, **body, "series_id": body["id"], **created})
        assert (await alice.get(response.headers["location"].removeprefix("/api/v1"))).json() == task

    async def test_task_created_as_completed_has_a_completion_time(self, alice: AsyncClient) -> None:
        task = await add_task(alice, status="completed")

        assert task["completed_at"] == task["updated_at"] == task["created_at"]

    @pytest.mark.parametrize(
        ("title", "kept"),
        [
            ("  Buy  milk ", "Buy  milk"),
            (BLANK + "Buy milk" + BLANK, "Buy milk"),
            (" " + "a" * 200 + " ", "a" * 200),
            ("𝄞" * 200, "𝄞" * 200),
            # Neither Unicode nor PostgreSQL treats these characters as white space.
            ("\u200b\ufeff", "\u200b\ufeff"),
            ("a\ntitle\tof\x1ftwo lines", "a\ntitle\tof\x1ftwo lines"),
        ],
    )
    async def test_title_is_trimmed_before_its_length_is_checked(
        self, alice: AsyncClient, title: str, kept: str
    ) -> None:
        task = await add_task(alice, title=title)

        assert task["title"] == kept
        assert await tasks_of(alice) == [task]

    @pytest.mark.parametrize("description", [None, "", "  \n", "a" * 10_000, "𝄞" * 10_000, "- [ ] <b>raw</b> & such"])
    async def test_description_is_stored_unchanged(self, alice: AsyncClient, description: str | None) -> None:
        task = await add_task(alice, description=description)

        assert task["description"] == description

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("2026-03-10", "2026-03-10"),
            ("2028-02-29", "2028-02-29"),
            ("0001-01-01", "0001-01-01"),
            ("9999-12-31", "9999-12-31"),
            ("2026-03-10T09:00:00+01:00", "2026-03-10T08:00:00Z"),
            ("2026-03-10T00:30+01:00", "2026-03-09T23:30:00Z"),
            ("2026-03-10t09:00:00.000001z", "2026-03-10T09:00:00.000001Z"),
            ("2026-03-10T09:00:00.120Z", "2026-03-10T09:00:00.12Z"),
            ("2026-03-10T09:00:00", "2026-03-10T09:00:00"),
            ("2026-03-10T09:00", "2026-03-10T09:00:00"),
            ("2026-03-10T00:00:00", "2026-03-10T00:00:00"),
            ("2026-03-10T00:00:00Z", "2026-03-10T00:00:00Z"),
            ("0001-01-01T00:00:00", "0001-01-01T00:00:00"),
            ("9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999"),
        ],
    )
    async def test_due_date_keeps_its_form_and_instants_are_converted_to_utc(
        self, alice: AsyncClient, given: str, kept: str
    ) -> None:
        task = await add_task(alice, due_date=given)

        assert task["due_date"] == kept
        assert await tasks_of(alice) == [task]

    @pytest.mark.parametrize(("field", "value", "detail"), WRONG_FIELDS)
    async def test_create_with_an_invalid_field_is_rejected_and_stores_nothing(
        self, alice: AsyncClient, field: str, value: Any, detail: str
    ) -> None:
        response = await alice.post("/tasks", json={"title": "Buy milk", field: value})

        assert response.status_code == 422
        assert problem_of(response) == invalid((f"/body/{field}", detail))
        assert await tasks_of(alice) == []

    async def test_create_reports_every_invalid_field(self, alice: AsyncClient) -> None:
        response = await alice.post("/tasks", json={"priority": "urgent", "user_id": "bob", "id": "mine"})

        assert problem_of(response) == invalid(
            ("/body/title", "This field is required."),
            ("/body/priority", PRIORITY_EXPECTED),
            ("/body/id", UUID_EXPECTED),
            ("/body/user_id", NO_SUCH_FIELD),
        )

    async def test_malformed_json_is_rejected_with_line_and_column(self, alice: AsyncClient) -> None:
        body = b'{\n  "title": "Buy milk",\n}'

        response = await alice.post("/tasks", content=body, headers={"Content-Type": "application/json"})

        assert problem_of(response) == {
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": "The body is not valid JSON. Look at line 3, column 1.",
            "code": "malformed_json",
        }

    async def test_generated_ids_and_creation_times_are_ascending(self, alice: AsyncClient) -> None:
        tasks = [await add_task(alice) for _ in range(20)]

        assert all(earlier["id"] < later["id"] for earlier, later in pairwise(tasks))
        assert all(instant(earlier["created_at"]) < instant(later["created_at"]) for earlier, later in pairwise(tasks))


# Task: T-031
class TestCreateWithClientId:
    @pytest.mark.parametrize(
        "make",
        [uuid7, uuid4, lambda: UUID(int=0), lambda: str(uuid7()).upper()],
        ids=["UUIDv7", "UUIDv4", "nil UUID", "upper case"],
    )
    async def test_create_uses_the_clients_id(self, alice: AsyncClient, make: Callable[[], object]) -> None:
        task_id = str(make())

        response = await alice.post("/tasks", json={"id": task_id, "title": "Buy milk"})

        assert (response.status_code, response.json()["id"]) == (201, task_id.lower())
        assert response.headers["location"] == f"/api/v1/tasks/{task_id.lower()}"

    async def test_create_with_a_null_id_generates_one(self, alice: AsyncClient) -> None:
        assert UUID((await add_task(alice, id=None))["id"]).version == 7

    async def test_repeated_create_with_the_same_body_returns_the_task(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid7()), "title": "Buy milk", "due_date": "2026-03-10T09:00:00+01:00"}
        first = await alice.post("/tasks", json=body)

        second = await alice.post("/tasks", json=body)

        assert (first.status_code, second.status_code) == (201, 200)
        assert second.json() == first.json()
        assert second.headers["location"] == first.headers["location"]
        assert await tasks_of(alice) == [first.json()]

    @pytest.mark.parametrize(
        "other_words",
        [
            {"title": "  Buy milk\n"},
            {"description": None, "status": "pending", "priority": "medium"},
            {"due_date": "2026-03-10T09:00:00+01:00"},
        ],
    )
    async def test_repeated_create_with_an_equivalent_body_returns_the_task(
        self, alice: AsyncClient, other_words: dict[str, Any]
    ) -> None:
        body = {"id": str(uuid7()), "title": "Buy milk", "due_date": "2026-03-10T08:00:00Z"}
        first = await alice.post("/tasks", json=body)

        second = await alice.post("/tasks", json={**body, **other_words, "id": body["id"].upper()})

        assert (second.status_code, second.json()) == (200, first.json())

    async def test_repeated_create_returns_the_task_as_it_is_now(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid7()), "title": "Buy milk"}
        task = await add_task(alice, **body)
        edited = await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy oat milk", "status": "completed"})

        again = await alice.post("/tasks", json=body)

        assert (again.status_code, again.json()) == (200, edited.json())

    @pytest.mark.parametrize(
        "difference",
        [
            {"title": "Buy bread"},
            {"description": ""},
            {"status": "in_progress"},
            {"priority": "low"},
            {"due_date": "2026-03-10"},
        ],
    )
    async def test_create_with_a_used_id_and_another_body_is_rejected(
        self, alice: AsyncClient, difference: dict[str, Any]
    ) -> None:
        task = await add_task(alice, id=str(uuid7()))

        response = await alice.post("/tasks", json={"id": task["id"], "title": "Buy milk", **difference})

        assert problem_of(response) == ID_TAKEN
        assert await tasks_of(alice) == [task]

    async def test_create_with_the_edited_state_of_the_task_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_task(alice, id=str(uuid7()))
        await alice.patch(f"/tasks/{task['id']}", json={"title": "Buy bread"})

        response = await alice.post("/tasks", json={"id": task["id"], "title": "Buy bread"})

        assert problem_of(response) == ID_TAKEN

    async def test_id_of_a_deleted_task_can_be_used_again(self, alice: AsyncClient) -> None:
        task = await add_task(alice, id=str(uuid7()))
        await alice.delete(f"/tasks/{task['id']}?permanent=true")

        again = await alice.post("/tasks", json={"id": task["id"], "title": "Buy milk"})

        assert again.status_code == 201
        assert instant(again.json()["created_at"]) > instant(task["created_at"])

    async def test_twenty_concurrent_creates_with_the_same_body_create_one_task(self, alice: AsyncClient) -> None:
        body = {"id": str(uuid7()), "title": "Buy milk"}

        responses = await asyncio.gather(*(alice.post("/tasks", json=body) for _ in range(20)))

        [task] = await tasks_of(alice)
        assert Counter(response.status_code for response in responses) == {201: 1, 200: 19}
        assert all(response.json() == task for response in responses)

    async def test_one_of_twenty_concurrent_creates_with_different_bodies_succeeds(self, alice: AsyncClient) -> None:
        task_id = str(uuid7())

        responses = await asyncio.gather(
            *(alice.post("/tasks", json={"id": task_id, "title": f"Buy {n} pints"}) for n in range(20))
        )

        [task] = await tasks_of(alice)
        assert Counter(response.status_code for response in responses) == {201: 1, 409: 19}
        assert [response.json() for response in responses if response.status_code == 201] == [task]

    async def test_id_used_by_another_user_is_available(self, alice: AsyncClient, bob: AsyncClient) -> None:
        hers = await add_task(alice, id=str(uuid7()))

        his = await add_task(bob, id=hers["id"], title="Sell milk")

        assert await tasks_of(alice) == [hers]
        assert await tasks_of(bob) == [his]


# Task: T-032
class TestReadTask:
    async def test_read_returns_the_task(self, alice: AsyncClient) -> None:
        task = await add_task(alice, description="Two litres", due_date="2026-03-10", status="completed")

        response = await alice.get(f"/tasks/{task['id']}")

        assert (response.status_code, response.json()) == (200, task)

    async def test_read_accepts_the_id_in_upper_case(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        assert (await alice.get(f"/tasks/{task['id'].upper()}")).json() == task

    async def test_read_of_an_unknown_task_returns_404(self, alice: AsyncClient) -> None:
        response = await alice.get(f"/tasks/{uuid4()}")

        assert problem_of(response) == NOT_FOUND

    async def test_read_with_an_invalid_id_is_rejected(self, alice: AsyncClient) -> None:
        response = await alice.get("/tasks/42")

        assert problem_of(response) == invalid(("/path/task_id", UUID_EXPECTED))

    @pytest.mark.parametrize("form", ["urn:uuid:{}", "{{{}}}"])
    async def test_ids_in_other_uuid_notations_are_rejected(self, alice: AsyncClient, form: str) -> None:
        task = await add_task(alice)

        read = await alice.get(f"/tasks/{form.format(task['id'])}")
        made = await alice.post("/tasks", json={"title": "Buy milk", "id": form.format(uuid4())})

        assert problem_of(read) == invalid(("/path/task_id", UUID_EXPECTED))
        assert problem_of(made) == invalid(("/body/id", UUID_EXPECTED))


# Task: T-033
class TestListTasks:
    async def test_list_is_empty_for_a_new_user(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await add_task(bob)

        response = await alice.get("/tasks")

        assert (response.status_code, response.json()) == (200, EMPTY_PAGE)

    async def test_list_contains_complete_tasks_newest_first(self, alice: AsyncClient) -> None:
        oldest, middle, newest = [await add_task(alice, title=title) for title in ("one", "two", "three")]
        # An update does not change the order.
        edited = (await alice.patch(f"/tasks/{oldest['id']}", json={"priority": "high"})).json()

        response = await alice.get("/tasks")

        assert response.json() == {**EMPTY_PAGE, "tasks": [newest, middle, edited], "total": 3, "page_size": 3}

    async def test_list_returns_fifty_tasks_by_default(self, alice: AsyncClient) -> None:
        for number in range(51):
            await add_task(alice, title=str(number))

        page = (await alice.get("/tasks")).json()
        all_of_them = (await alice.get("/tasks?limit=100")).json()

        assert [task["title"] for task in page["tasks"]] == [str(number) for number in range(50, 0, -1)]
        assert (page["total"], page["page"], page["page_size"]) == (51, 1, 50)
        assert (all_of_them["total"], all_of_them["page"], all_of_them["page_size"]) == (51, 1, 51)

    @pytest.mark.parametrize(
        ("query", "seen", "page"),
        [
            ("?skip=0&limit=2", ["5", "4"], 1),
            ("?skip=2&limit=2", ["3", "2"], 2),
            ("?skip=4&limit=2", ["1"], 3),
            ("?skip=1&limit=2", ["4", "3"], 1),
            ("?skip=3", ["2", "1"], 1),
            ("?limit=1", ["5"], 1),
            ("?skip=5&limit=2", [], 3),
            ("?skip=2147483647&limit=1", [], 2147483648),
        ],
    )
    async def test_list_returns_the_requested_page(
        self, alice: AsyncClient, query: str, seen: list[str], page: int
    ) -> None:
        for title in ("1", "2", "3", "4", "5"):
            await add_task(alice, title=title)

        answer = (await alice.get(f"/tasks{query}")).json()

        assert [task["title"] for task in answer.pop("tasks")] == seen
        assert (answer["total"], answer["page"], answer["page_size"]) == (5, page, len(seen))

    @pytest.mark.parametrize(
        ("query", "seen"),
        [
            ("?status=pending", {"pending-low", "pending-high"}),
            ("?status_filter=pending", {"pending-low", "pending-high"}),
            ("?status=pending&status=cancelled", {"pending-low", "pending-high", "cancelled-low"}),
            ("?status_filter=pending&status_filter=cancelled", {"pending-low", "pending-high", "cancelled-low"}),
            ("?status=pending&status_filter=cancelled", {"pending-low", "pending-high", "cancelled-low"}),
            ("?status=pending&status=pending", {"pending-low", "pending-high"}),
            ("?status=in_progress", set()),
            ("?priority=low", {"pending-low", "cancelled-low"}),
            ("?priority=low&priority=medium", {"pending-low", "cancelled-low", "completed-medium"}),
            ("?priority=low&status=pending", {"pending-low"}),
            ("?priority=high&status=cancelled", set()),
        ],
    )
    async def test_list_is_filtered_by_status_and_priority(
        self, alice: AsyncClient, query: str, seen: set[str]
    ) -> None:
        for name in ("pending-low", "pending-high", "completed-medium", "cancelled-low"):
            status, priority = name.split("-")
            await add_task(alice, title=name, status=status, priority=priority)

        answer = (await alice.get(f"/tasks{query}")).json()

        assert {task["title"] for task in answer["tasks"]} == seen
        assert (answer["total"], answer["page_size"]) == (len(seen), len(seen))

    async def test_total_counts_matches_on_all_pages(self, alice: AsyncClient) -> None:
        for status in ("pending", "completed", "pending", "pending"):
            await add_task(alice, status=status)

        answer = (await alice.get("/tasks?status=pending&limit=2&skip=2")).json()

        assert (answer["total"], answer["page"], answer["page_size"]) == (3, 2, 1)

    @pytest.mark.parametrize(
        ("query", "pointer", "detail"),
        [
            ("skip=-1", "/query/skip", "Expected 0 or more."),
            ("skip=2147483648", "/query/skip", "Expected 2,147,483,647 or less."),
            ("limit=0", "/query/limit", "Expected 1 or more."),
            ("limit=101", "/query/limit", "Expected 100 or less."),
            ("limit=-5", "/query/limit", "Expected 1 or more."),
            ("limit=", "/query/limit", "Expected a whole number."),
            ("limit=ten", "/query/limit", "Expected a whole number."),
            ("limit=1.0", "/query/limit", "Expected a whole number."),
            ("limit=1_0", "/query/limit", "Expected a whole number."),
            ("limit=%2B1", "/query/limit", "Expected a whole number."),
            ("limit=%D9%A1", "/query/limit", "Expected a whole number."),
            ("limit=true", "/query/limit", "Expected a whole number."),
            ("limit=10&limit=20", "/query/limit", "Give this parameter once."),
            ("status=done", "/query/status/0", STATUS_EXPECTED),
            ("status=pending&status=", "/query/status/1", STATUS_EXPECTED),
            ("status=pending,completed", "/query/status/0", STATUS_EXPECTED),
            ("status_filter=Pending", "/query/status_filter/0", STATUS_EXPECTED),
            ("priority=urgent", "/query/priority/0", PRIORITY_EXPECTED),
            ("user_id=bob", "/query/user_id", "There is no such parameter here."),
        ],
    )
    async def test_invalid_query_parameter_is_rejected_with_a_pointer(
        self, alice: AsyncClient, query: str, pointer: str, detail: str
    ) -> None:
        response = await alice.get(f"/tasks?{query}")

        assert problem_of(response) == invalid((pointer, detail))


# Task: T-036
class TestTrashTask:
    async def test_delete_moves_the_task_to_the_trash(self, alice: AsyncClient) -> None:
        kept, task = await add_task(alice), await add_task(alice)

        response = await alice.delete(f"/tasks/{task['id']}")

        trashed = (await alice.get(f"/tasks/{task['id']}")).json()
        assert (response.status_code, response.content) == (204, b"")
        assert "content-type" not in response.headers
        assert await tasks_of(alice) == [kept]
        stamps = dict.fromkeys(("trashed_at", "updated_at"), trashed["updated_at"])
        assert trashed == {**task, **stamps, "revision": 3}
        assert instant(trashed["trashed_at"]) > instant(task["updated_at"])

    async def test_repeated_delete_leaves_the_trashed_task_unchanged(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        await alice.delete(f"/tasks/{task['id']}")
        trashed = (await alice.get(f"/tasks/{task['id']}")).json()

        again = await alice.delete(f"/tasks/{task['id']}")

        assert again.status_code == 204
        assert (await alice.get(f"/tasks/{task['id']}")).json() == trashed


# Task: T-036
class TestDeleteTaskPermanently:
    @pytest.mark.parametrize("is_trashed", [False, True])
    async def test_permanent_delete_removes_the_task(self, alice: AsyncClient, *, is_trashed: bool) -> None:
        kept, task = await add_task(alice), await add_task(alice)
        if is_trashed:
            await alice.delete(f"/tasks/{task['id']}")

        response = await alice.delete(f"/tasks/{task['id']}?permanent=true")

        assert (response.status_code, response.content) == (204, b"")
        assert "content-type" not in response.headers
        assert await tasks_of(alice) == [kept]
        assert problem_of(await alice.get(f"/tasks/{task['id']}")) == NOT_FOUND

    @pytest.mark.parametrize("query", ["", "?permanent=false", "?permanent=true"])
    async def test_repeated_permanent_delete_returns_404(self, alice: AsyncClient, query: str) -> None:
        task = await add_task(alice)
        await alice.delete(f"/tasks/{task['id']}?permanent=true")

        again = await alice.delete(f"/tasks/{task['id']}{query}")

        assert problem_of(again) == NOT_FOUND

    async def test_one_of_ten_concurrent_permanent_deletes_succeeds(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        responses = await asyncio.gather(*(alice.delete(f"/tasks/{task['id']}?permanent=true") for _ in range(10)))

        assert Counter(response.status_code for response in responses) == {204: 1, 404: 9}

    @pytest.mark.parametrize("said", ["", "1", "yes", "True"])
    async def test_permanent_parameter_accepts_only_true_and_false(self, alice: AsyncClient, said: str) -> None:
        task = await add_task(alice)

        response = await alice.delete(f"/tasks/{task['id']}?permanent={said}")

        assert problem_of(response) == invalid(("/query/permanent", "Expected true or false."))
        assert await tasks_of(alice) == [task]


# Task: T-031
class TestDeletedAccount:
    async def test_reads_after_the_account_was_deleted_find_nothing(self, charlie: AsyncClient) -> None:
        listed = await charlie.get("/tasks")
        read = await charlie.get(f"/tasks/{uuid7()}")

        assert listed.json() == EMPTY_PAGE
        assert problem_of(read) == NOT_FOUND

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "/tasks", {"title": "Buy milk"}),
            ("PUT", "/tasks/{}", {"title": "Buy milk"}),
            ("PATCH", "/tasks/{}", {"title": "Buy milk"}),
            ("PATCH", "/tasks/{}", {}),
            ("DELETE", "/tasks/{}", None),
            ("POST", "/tasks/{}/complete", None),
            ("POST", "/tasks/{}/complete", {"occurrence": "2026-03-10"}),
            ("POST", "/tasks/{}/skip", None),
            ("POST", "/tasks/{}/reopen", None),
        ],
    )
    async def test_writes_are_forbidden_after_the_account_was_deleted(
        self, charlie: AsyncClient, method: str, path: str, body: dict[str, Any] | None
    ) -> None:
        response = await charlie.request(method, path.format(uuid7()), json=body)

        assert problem_of(response) == ACCOUNT_GONE
