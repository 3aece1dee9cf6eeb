"""Changes to tasks over HTTP: replaced, patched, moved from status to status, completed, reopened."""

import asyncio
from datetime import UTC, datetime
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient

from support.tasks import (
    NO_SUCH_FIELD,
    NOT_FOUND,
    UNSET,
    WRONG_FIELDS,
    add_task,
    instant,
    invalid,
    problem_of,
    tasks_of,
    without_request_id,
)
from todo.kit.ids import uuid7
from todo.models.tasks import Status

STATUSES = [status.value for status in Status]
OPEN = {"pending", "in_progress"}


# Task: T-034
class TestReplace:
    async def test_gives_absent_fields_their_defaults(self, alice: AsyncClient) -> None:
        task = await add_task(
            alice,
            description="Two litres",
            status="completed",
            priority="high",
            tags=["errand"],
            due_date="2026-03-10T09:00:00",
            start_date="2026-03-09",
            due_time_zone="Europe/Paris",
        )

        response = await alice.put(f"/tasks/{task['id']}", json={"title": " Buy bread "})

        replaced = response.json()
        assert (response.status_code, replaced) == (
            200,
            {
                **UNSET,
                "id": task["id"],
                "title": "Buy bread",
                "position": task["position"],
                "created_at": task["created_at"],
                "updated_at": replaced["updated_at"],
                "revision": 2,
            },
        )
        assert instant(replaced["updated_at"]) > instant(task["updated_at"])
        assert await tasks_of(alice) == [replaced]

    async def test_sets_every_field(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        body = {
            "title": "Buy bread",
            "description": "Rye",
            "status": "in_progress",
            "priority": "low",
            "due_date": "2026-03-10T08:00:00Z",
            "due_time_zone": "Europe/Berlin",
            "start_date": "2026-03-09",
            "recurrence": None,
            "category_id": None,
            "parent_id": None,
            "tags": ["Errand"],
        }

        replaced = (await alice.put(f"/tasks/{task['id']}", json=body)).json()

        assert replaced == {**task, **body, "updated_at": replaced["updated_at"], "revision": 2}

    async def test_changes_nothing_when_all_is_as_it_was(self, alice: AsyncClient) -> None:
        body = {"title": "Buy milk", "status": "completed", "due_date": "2026-03-10T08:00:00Z"}
        task = await add_task(alice, **body)

        replaced = await alice.put(f"/tasks/{task['id']}", json={**body, "due_date": "2026-03-10T09:00:00+01:00"})

        assert (replaced.status_code, replaced.json()) == (200, task)

    async def test_makes_nothing_where_there_is_nothing(self, alice: AsyncClient) -> None:
        response = await alice.put(f"/tasks/{uuid7()}", json={"title": "Buy bread"})

        assert problem_of(response) == NOT_FOUND
        assert await tasks_of(alice) == []

    async def test_cannot_change_the_id(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        response = await alice.put(f"/tasks/{task['id']}", json={"id": str(uuid7()), "title": "Buy bread"})

        assert problem_of(response) == invalid(("/body/id", NO_SUCH_FIELD))
        assert await tasks_of(alice) == [task]

    async def test_needs_a_title(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        response = await alice.put(f"/tasks/{task['id']}", json={"description": "Rye"})

        assert problem_of(response) == invalid(("/body/title", "This field is required."))

    @pytest.mark.parametrize(("field", "value", "detail"), WRONG_FIELDS)
    async def test_says_what_is_wrong_and_changes_nothing(
        self, alice: AsyncClient, field: str, value: Any, detail: str
    ) -> None:
        task = await add_task(alice)

        response = await alice.put(f"/tasks/{task['id']}", json={"title": "Buy bread", field: value})

        assert problem_of(response) == invalid((f"/body/{field}", detail))
        assert await tasks_of(alice) == [task]


# Task: T-034
class TestUpdate:
    @pytest.mark.parametrize(
        "change",
        [
            {"title": "Buy bread"},
            {"description": "Three litres"},
            {"description": ""},
            {"description": None},
            {"status": "in_progress"},
            {"priority": "low"},
            {"due_date": "2026-03-11"},
            {"due_date": "2026-03-10T00:00:00Z"},
            {"due_date": None},
            {"title": "Buy bread", "priority": "medium", "due_date": None, "description": None, "status": "cancelled"},
        ],
    )
    async def test_changes_what_is_sent_and_nothing_else(self, alice: AsyncClient, change: dict[str, Any]) -> None:
        task = await add_task(alice, description="Two litres", priority="high", due_date="2026-03-10")

        response = await alice.patch(f"/tasks/{task['id']}", json=change)

        changed = response.json()
        stamps = {"updated_at": changed["updated_at"], "revision": 2}
        assert (response.status_code, changed) == (200, {**task, **change, **stamps})
        assert instant(changed["updated_at"]) > instant(task["updated_at"])
        assert await tasks_of(alice) == [changed]

    async def test_trims_and_gives_instants_in_utc(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        changed = (
            await alice.patch(f"/tasks/{task['id']}", json={"title": " a ", "due_date": "2026-03-10T00:30+01:00"})
        ).json()

        assert (changed["title"], changed["due_date"]) == ("a", "2026-03-09T23:30:00Z")

    @pytest.mark.parametrize(
        "change",
        [
            {},
            {"title": "Buy milk"},
            {"title": " Buy milk "},
            {"description": None},
            {"due_date": "2026-03-10T09:00:00+01:00"},
            {"status": "completed"},
            {"status": "completed", "priority": "medium"},
        ],
    )
    async def test_changes_nothing_where_nothing_differs(self, alice: AsyncClient, change: dict[str, Any]) -> None:
        task = await add_task(alice, due_date="2026-03-10T08:00:00Z", status="completed")

        response = await alice.patch(f"/tasks/{task['id']}", json=change)

        assert (response.status_code, response.json()) == (200, task)
        assert await tasks_of(alice) == [task]

    @pytest.mark.parametrize("change", [{}, {"title": "Buy bread"}, {"status": "completed"}])
    async def test_says_when_there_is_none(self, alice: AsyncClient, change: dict[str, Any]) -> None:
        response = await alice.patch(f"/tasks/{uuid7()}", json=change)

        assert problem_of(response) == NOT_FOUND

    async def test_cannot_change_the_id(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        response = await alice.patch(f"/tasks/{task['id']}", json={"id": str(uuid7())})

        assert problem_of(response) == invalid(("/body/id", NO_SUCH_FIELD))

    @pytest.mark.parametrize(("field", "value", "detail"), WRONG_FIELDS)
    async def test_says_what_is_wrong_and_changes_nothing(
        self, alice: AsyncClient, field: str, value: Any, detail: str
    ) -> None:
        task = await add_task(alice)

        response = await alice.patch(f"/tasks/{task['id']}", json={"priority": "high", field: value})

        assert problem_of(response) == invalid((f"/body/{field}", detail))
        assert await tasks_of(alice) == [task]

    async def test_loses_nothing_when_different_fields_change_at_once(self, alice: AsyncClient) -> None:
        changes = [
            {"title": "Buy bread"},
            {"description": "Rye"},
            {"status": "completed"},
            {"priority": "high"},
            {"due_date": "2026-03-10"},
        ]
        for _ in range(5):
            task = await add_task(alice)

            responses = await asyncio.gather(*(alice.patch(f"/tasks/{task['id']}", json=one) for one in changes))

            now = (await alice.get(f"/tasks/{task['id']}")).json()
            assert [response.status_code for response in responses] == [200] * 5
            assert {field: now[field] for change in changes for field in change} == {
                field: value for change in changes for field, value in change.items()
            }
            assert instant(now["updated_at"]) == max(instant(response.json()["updated_at"]) for response in responses)


# Task: T-034
class TestStatus:
    @pytest.mark.parametrize(("before", "after"), list(product(STATUSES, STATUSES)))
    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    async def test_moves_by_the_rules_and_takes_completed_at_along(
        self, alice: AsyncClient, method: str, before: str, after: str
    ) -> None:
        task = await add_task(alice, status=before)
        body = {"status": after} if method == "PATCH" else {"title": task["title"], "status": after}

        response = await alice.request(method, f"/tasks/{task['id']}", json=body)

        now = (await alice.get(f"/tasks/{task['id']}")).json()
        if before == after:
            assert (response.status_code, response.json(), now) == (200, task, task)
        elif before in OPEN or after in OPEN:
            changed = response.json()
            completed_at = changed["updated_at"] if after == "completed" else None
            stamps = {"updated_at": changed["updated_at"], "revision": 2}
            moved = {"status": after, "completed_at": completed_at, **stamps}
            assert (response.status_code, changed, now) == (200, {**task, **moved}, changed)
            assert instant(changed["updated_at"]) > instant(task["updated_at"])
        else:
            sentence = f"A {before} task cannot become {after}. Reopen it first."
            assert problem_of(response) == invalid(
                ("/body/status", sentence), code="invalid_status_transition", detail=sentence
            )
            assert now == task

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    async def test_changes_nothing_at_all_when_the_move_is_refused(self, alice: AsyncClient, method: str) -> None:
        task = await add_task(alice, status="cancelled")

        response = await alice.request(
            method, f"/tasks/{task['id']}", json={"title": "Buy bread", "status": "completed"}
        )

        assert response.json()["code"] == "invalid_status_transition"
        assert await tasks_of(alice) == [task]

    async def test_keeps_the_first_completion_through_other_changes(self, alice: AsyncClient) -> None:
        task = await add_task(alice, status="completed")

        changed = (await alice.put(f"/tasks/{task['id']}", json={"title": "Buy bread", "status": "completed"})).json()

        assert changed == {**task, "title": "Buy bread", "updated_at": changed["updated_at"], "revision": 2}
        assert instant(changed["updated_at"]) > instant(changed["completed_at"])


# Task: T-035
class TestComplete:
    @pytest.mark.parametrize("status", sorted(OPEN))
    async def test_completes_now(self, alice: AsyncClient, status: str) -> None:
        task = await add_task(alice, status=status, description="Two litres")
        before = datetime.now(UTC)

        response = await alice.post(f"/tasks/{task['id']}/complete")

        done = response.json()
        now = done["updated_at"]
        assert (response.status_code, done) == (
            200,
            {**task, "status": "completed", "updated_at": now, "completed_at": now, "revision": 2},
        )
        assert before <= instant(now) <= datetime.now(UTC)
        assert await tasks_of(alice) == [done]

    async def test_keeps_the_first_completion_when_retried(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        first = await alice.post(f"/tasks/{task['id']}/complete")

        second = await alice.post(f"/tasks/{task['id']}/complete")

        assert second.json() == first.json()

    async def test_completes_once_of_ten_times_at_once(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        responses = await asyncio.gather(*(alice.post(f"/tasks/{task['id']}/complete") for _ in range(10)))

        [done] = await tasks_of(alice)
        assert all((response.status_code, response.json()) == (200, done) for response in responses)

    async def test_tells_to_reopen_a_cancelled_task_first(self, alice: AsyncClient) -> None:
        task = await add_task(alice, status="cancelled")

        response = await alice.post(f"/tasks/{task['id']}/complete")

        sentence = "A cancelled task cannot become completed. Reopen it first."
        assert problem_of(response) == invalid(("/status", sentence), code="invalid_status_transition", detail=sentence)
        assert await tasks_of(alice) == [task]

    async def test_treats_a_strangers_task_as_missing(self, alice: AsyncClient, bob: AsyncClient) -> None:
        task = await add_task(alice)

        foreign = await bob.post(f"/tasks/{task['id']}/complete")
        missing = await bob.post(f"/tasks/{uuid4()}/complete")

        assert foreign.status_code == missing.status_code == 404
        assert without_request_id(foreign) == without_request_id(missing)


# Task: T-035
class TestReopen:
    @pytest.mark.parametrize("status", ["completed", "cancelled"])
    async def test_makes_the_task_pending_again(self, alice: AsyncClient, status: str) -> None:
        task = await add_task(alice, status=status, due_date="2026-03-10")

        response = await alice.post(f"/tasks/{task['id']}/reopen")

        reopened = response.json()
        moved = {"status": "pending", "completed_at": None, "updated_at": reopened["updated_at"], "revision": 2}
        assert (response.status_code, reopened) == (200, {**task, **moved})
        assert instant(reopened["updated_at"]) > instant(task["updated_at"])
        assert await tasks_of(alice) == [reopened]

    @pytest.mark.parametrize("status", sorted(OPEN))
    async def test_leaves_an_open_task_as_it_is(self, alice: AsyncClient, status: str) -> None:
        task = await add_task(alice, status=status)

        response = await alice.post(f"/tasks/{task['id']}/reopen")

        assert (response.status_code, response.json()) == (200, task)

    async def test_is_safe_to_repeat(self, alice: AsyncClient) -> None:
        task = await add_task(alice, status="completed")
        first = await alice.post(f"/tasks/{task['id']}/reopen")

        second = await alice.post(f"/tasks/{task['id']}/reopen")

        assert second.json() == first.json()

    async def test_lets_a_task_be_completed_anew(self, alice: AsyncClient) -> None:
        task = await add_task(alice, status="completed")
        await alice.post(f"/tasks/{task['id']}/reopen")

        again = (await alice.post(f"/tasks/{task['id']}/complete")).json()

        assert instant(again["completed_at"]) > instant(task["completed_at"])

    async def test_says_when_there_is_none(self, alice: AsyncClient) -> None:
        assert problem_of(await alice.post(f"/tasks/{uuid7()}/reopen")) == NOT_FOUND
