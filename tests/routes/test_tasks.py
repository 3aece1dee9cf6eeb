"""Tasks over HTTP. Alice owns things; Bob must not learn that they exist."""

from uuid import uuid4

from httpx import AsyncClient

from support.tasks import add_task, without_request_id


# Task: T-035
class TestComplete:
    async def test_keeps_the_first_completion_when_retried(self, alice: AsyncClient) -> None:
        task = await add_task(alice)
        first = await alice.post(f"/tasks/{task['id']}/complete")

        second = await alice.post(f"/tasks/{task['id']}/complete")

        assert second.json() == first.json()

    async def test_treats_a_strangers_task_as_missing(self, alice: AsyncClient, bob: AsyncClient) -> None:
        task = await add_task(alice)

        foreign = await bob.post(f"/tasks/{task['id']}/complete")
        missing = await bob.post(f"/tasks/{uuid4()}/complete")

        assert foreign.status_code == missing.status_code == 404
        assert without_request_id(foreign) == without_request_id(missing)
