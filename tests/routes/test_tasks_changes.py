"""Updates of tasks over HTTP: PUT, PATCH, status transitions, complete, reopen."""

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
from todo.models.values import Status

STATUSES = [status.value for status in Status]
OPEN = {"pending", "in_progress"}


# Task: T-034
class TestReplaceTask:
    async def test_put_resets_absent_fields_to_their_defaults(self, alice: AsyncClient) -> None:
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

    async def test_put_sets_every_field(self, alice: AsyncClient) -> None:
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

    async def test_put_of_an_equivalent_body_changes_nothing(self, alice: AsyncClient) -> None:
        body = {"title": "Buy milk", "status": "completed", "due_date": "2026-03-10T08:00:00Z"}
        task = await add_task(alice, **body)

        replaced = await alice.put(f"/tasks/{task['id']}", json={**body, "due_date": "2026-03-10T09:00:00+01:00"})

        assert (replaced.status_code, replaced.json()) == (200, task)

    async def test_put_of_an_unknown_task_returns_404_and_creates_nothing(self, alice: AsyncClient) -> None:
        response = await alice.put(f"/tasks/{uuid7()}", json={"title": "Buy bread"})

        assert problem_of(response) == NOT_FOUND
        assert await tasks_of(alice) == []

    async def test_put_cannot_change_the_id(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        response = await alice.put(f"/tasks/{task['id']}", json={"id": str(uuid7()), "title": "Buy bread"})

        assert problem_of(response) == invalid(("/body/id", NO_SUCH_FIELD))
        assert await tasks_of(alice) == [task]

    async def test_put_without_a_title_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        response = await alice.put(f"/tasks/{task['id']}", json={"description": "Rye"})

        assert problem_of(response) == invalid(("/body/title", "This field is required."))

    @pytest.mark.parametrize(("field", "value", "detail"), WRONG_FIELDS)
    async def test_put_with_an_invalid_field_is_rejected_and_changes_nothing(
        self, alice: AsyncClient, field: str, value: Any, detail: str
    ) -> None:
        task = await add_task(alice)

        response = await alice.put(f"/tasks/{task['id']}", json={"title": "Buy bread", field: value})

        assert problem_of(response) == invalid((f"/body/{field}", detail))
        assert await tasks_of(alice) == [task]


# Task: T-034
class TestUpdateTask:
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
    async def test_patch_changes_only_the_fields_that_were_sent(
        self, alice: AsyncClient, change: dict[str, Any]
    ) -> None:
        task = await add_task(alice, description="Two litres", priority="high", due_date="2026-03-10")

        response = await alice.patch(f"/tasks/{task['id']}", json=change)

        changed = response.json()
        stamps = {"updated_at": changed["updated_at"], "revision": 2}
        assert (response.status_code, changed) == (200, {**task, **change, **stamps})
        assert instant(changed["updated_at"]) > instant(task["updated_at"])
        assert await tasks_of(alice) == [changed]

    async def test_patch_trims_the_title_and_converts_instants_to_utc(self, alice: AsyncClient) -> None:
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
    async def test_patch_with_current_values_changes_nothing(self, alice: AsyncClient, change: dict[str, Any]) -> None:
        task = await add_task(alice, due_date="2026-03-10T08:00:00Z", status="completed")

        response = await alice.patch(f"/tasks/{task['id']}", json=change)

        assert (response.status_code, response.json()) == (200, task)
        assert await tasks_of(alice) == [task]

    @pytest.mark.parametrize("change", [{}, {"title": "Buy bread"}, {"status": "completed"}])
    async def test_patch_of_an_unknown_task_returns_404(self, alice: AsyncClient, change: dict[str, Any]) -> None:
        response = await alice.patch(f"/tasks/{uuid7()}", json=change)

        assert problem_of(response) == NOT_FOUND

    async def test_patch_cannot_change_the_id(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        response = await alice.patch(f"/tasks/{task['id']}", json={"id": str(uuid7())})

        assert problem_of(response) == invalid(("/body/id", NO_SUCH_FIELD))

    @pytest.mark.parametrize(("field", "value", "detail"), WRONG_FIELDS)
    async def test_patch_with_an_invalid_field_is_rejected_and_changes_nothing(
        self, alice: AsyncClient, field: str, value: Any, detail: str
    ) -> None:
        task = await add_task(alice)

        response = await alice.patch(f"/tasks/{task['id']}", json={"priority": "high", field: value})

        assert problem_of(response) == invalid((f"/body/{field}", detail))
        assert await tasks_of(alice) == [task]

    async def test_concurrent_patches_of_different_fields_lose_nothing(self, alice: AsyncClient) -> None:
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
class TestStatusTransitions:
    @pytest.mark.parametrize(("before", "after"), list(product(STATUSES, STATUSES)))
    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    async def test_status_transitions_follow_the_rules_and_set_completed_at(
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
    async def test_rejected_status_transition_changes_no_other_field(self, alice: AsyncClient, method: str) -> None:
        task = await add_task(alice, status="cancelled")

        response = await alice.request(
            method, f"/tasks/{task['id']}", json={"title": "Buy bread", "status": "completed"}
        )

        assert response.json()["code"] == "invalid_status_transition"
        assert await tasks_of(alice) == [task]

    async def test_update_of_a_completed_task_keeps_the_completion_time(self, alice: AsyncClient) -> None:
        task = await add_task(alice, status="completed")

        changed = (await alice.put(f"/tasks/{task['id']}", json={"title": "Buy bread", "status": "completed"})).json()

        assert changed == {**task, "title": "Buy bread", "updated_at": changed["updated_at"], "revision": 2}
        assert instant(changed["updated_at"]) > instant(changed["completed_at"])


# Task: T-035
class TestCompleteTask:
    @pytest.mark.parametrize("status", sorted(OPEN))
    async def test_complete_sets_status_and_completion_time(self, alice: AsyncClient, status: str) -> None:
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

    async def test_repeated_complete_keeps_the_first_completion_time(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        first = await alice.post(f"/tasks/{task['id']}/complete")

        second = await alice.post(f"/tasks/{task['id']}/complete")

        assert second.json() == first.json()

    async def test_ten_concurrent_completes_complete_the_task_once(self, alice: AsyncClient) -> None:
        task = await add_task(alice)

        responses = await asyncio.gather(*(alice.post(f"/tasks/{task['id']}/complete") for _ in range(10)))

        [done] = await tasks_of(alice)
        assert all((response.status_code, response.json()) == (200, done) for response in responses)

    async def test_completing_a_cancelled_task_is_rejected(self, alice: AsyncClient) -> None:
        task = await add_task(alice, status="cancelled")

        response = await alice.post(f"/tasks/{task['id']}/complete")

        sentence = "A cancelled task cannot become completed. Reopen it first."
        assert problem_of(response) == invalid(("/status", sentence), code="invalid_status_transition", detail=sentence)
        assert await tasks_of(alice) == [task]

    async def test_completing_another_users_task_returns_404_like_an_unknown_one(
        self, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        task = await add_task(alice)

        foreign = await bob.post(f"/tasks/{task['id']}/complete")
        missing = await bob.post(f"/tasks/{uuid4()}/complete")

        assert foreign.status_code == missing.status_code == 404
        assert without_request_id(foreign) == without_request_id(missing)


# Task: T-035
class TestReopenTask:
    @pytest.mark.parametrize("status", ["completed", "cancelled"])
    async def test_reopen_makes_a_closed_task_pending(self, alice: AsyncClient, status: str) -> None:
        task = await add_task(alice, status=status, due_date="2026-03-10")

        response = await alice.post(f"/tasks/{task['id']}/reopen")

        reopened = response.json()
        moved = {"status": "pending", "completed_at": None, "updated_at": reopened["updated_at"], "revision": 2}
        assert (response.status_code, reopened) == (200, {**task, **moved})
        assert instant(reopened["updated_at"]) > instant(task["updated_at"])
        assert await tasks_of(alice) == [reopened]

    @pytest.mark.parametrize("status", sorted(OPEN))
    async def test_reopening_an_open_task_changes_nothing(self, alice: AsyncClient, status: str) -> None:
        task = await add_task(alice, status=status)

        response = await alice.post(f"/tasks/{task['id']}/reopen")

        assert (response.status_code, response.json()) == (200, task)

    async def test_reopen_is_idempotent(self, alice: AsyncClient) -> None:
        task = await add_task(alice, status="completed")
        first = await alice.post(f"/tasks/{task['id']}/reopen")

        second = await alice.post(f"/tasks/{task['id']}/reopen")

        assert second.json() == first.json()

    async def test_reopened_task_gets_a_new_completion_time(self, alice: AsyncClient) -> None:
        task = await add_task(alice, status="completed")
        await alice.post(f"/tasks/{task['id']}/reopen")

        again = (await alice.post(f"/tasks/{task['id']}/complete")).json()

        assert instant(again["completed_at"]) > instant(task["completed_at"])

    async def test_reopening_an_unknown_task_returns_404(self, alice: AsyncClient) -> None:
        assert problem_of(await alice.post(f"/tasks/{uuid7()}/reopen")) == NOT_FOUND
