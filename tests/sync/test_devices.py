"""Several devices of one user, random operations, lost responses and retries: no write is lost, doubled or overwritten.

Hypothesis chooses the operations, and a model computes the expected results. The effects are read from the change feed
after each step: exactly one change for each effect. Series, subtrees, other entities and batches are in
``test_families.py``.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from httpx import Response
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from support.invariants import violations
from support.state_machines import DeviceMachine, StatefulApp, Write, run_machine
from support.sync import Change, Task, read_everything

pytestmark = pytest.mark.slow

DEVICES = 3
OPEN = ("pending", "in_progress")
STAMPS = ("revision", "updated_at")

# Few values, so that many updates change nothing.
FIELDS = {
    "title": st.sampled_from(["Buy milk", "Buy bread"]),
    "description": st.sampled_from([None, "Two"]),
    "priority": st.sampled_from(["low", "high"]),
    "status": st.sampled_from(["pending", "in_progress", "completed", "cancelled"]),
    "due_date": st.sampled_from([None, "2026-03-10"]),
}
DEFAULTS = {"description": None, "priority": "medium", "status": "pending", "due_date": None}
some_fields = st.fixed_dictionaries({}, optional=FIELDS)
all_fields = st.fixed_dictionaries(
    {"title": FIELDS["title"]}, optional={name: values for name, values in FIELDS.items() if name != "title"}
)
which = st.integers(0, 5)
devices = st.integers(0, DEVICES - 1)
keys = st.none() | st.sampled_from("abcdefgh")
matches = st.sampled_from([None, "current", "stale", "*"])

OUTCOMES = (
    *("POST 201", "POST 200", "POST 409", "POST 422"),
    *("PATCH 200", "PATCH 404", "PATCH 409", "PATCH 412", "PATCH 422"),
    *("PUT 200", "PUT 404", "PUT 409", "PUT 412", "PUT 422"),
    *("complete 200", "complete 404", "complete 409", "complete 412", "complete 422"),
    *("reopen 200", "reopen 404", "reopen 409", "reopen 412", "reopen 422"),
    *("DELETE 204", "DELETE 404", "DELETE 412"),
    *("remove 204", "remove 404", "remove 412"),
    *("restore 200", "restore 404", "restore 412"),
    *("undo 200", "undo 404", "undo 409", "undo 422"),
    "replayed",
)


@dataclass
class Expected:
    """The expected result of a write: its status, and the task afterwards if it changes (``None``: deleted)."""

    status: int
    task_id: str | None = None
    changes: bool = False
    task: Task | None = None
    code: str | None = None


@dataclass
class Entry:
    """A change in the log of the model."""

    task_id: str
    operation: str
    fields: frozenset[str]
    before: Task | None


@dataclass
class Model:
    """The expected state of the server."""

    tasks: dict[str, Task] = field(default_factory=dict)
    log: list[Entry] = field(default_factory=list)
    forgotten: int = 0
    # For each key, the request that it stands for and the response.
    stored: dict[str, tuple[tuple[str, str, Any], Any]] = field(default_factory=dict)
    bodies: dict[str, Any] = field(default_factory=dict)

    def create(self, body: dict[str, Any]) -> Expected:
        task = {**DEFAULTS, **{name: body[name] for name in FIELDS if name in body}}
        task_id = body.get("id")
        if task_id not in self.tasks:
            return Expected(201, task_id, changes=True, task=task)
        # Bodies are compared without default values.
        if self.bodies.get(task_id) == _without_defaults(body):
            return Expected(200, task_id)
        return Expected(409, task_id, code="id_taken")

    def change(self, task_id: str, fields: dict[str, Any], if_match: str | None) -> Expected:
        task = self.tasks.get(task_id)
        if task is None:
            return Expected(404)
        if self.is_stale(task, if_match):
            return Expected(412, task_id, code="precondition_failed")
        if task["trashed_at"] is not None:
            return Expected(409, code="in_trash")
        new = {**task, **fields}
        if task["status"] not in OPEN and new["status"] not in OPEN and new["status"] != task["status"]:
            return Expected(422, code="invalid_status_transition")
        return Expected(200, task_id, changes=new != task, task=new)

    def reopen(self, task_id: str, if_match: str | None) -> Expected:
        task = self.tasks.get(task_id)
        status = {} if task is None or task["status"] in OPEN else {"status": "pending"}
        return self.change(task_id, status, if_match)

    def trash(self, task_id: str, if_match: str | None) -> Expected:
        return self._in_or_out(204, task_id, if_match, trashed_at="now")

    def restore(self, task_id: str, if_match: str | None) -> Expected:
        return self._in_or_out(200, task_id, if_match, trashed_at=None)

    def _in_or_out(self, status: int, task_id: str, if_match: str | None, *, trashed_at: str | None) -> Expected:
        task = self.tasks.get(task_id)
        if task is None:
            return Expected(404)
        if self.is_stale(task, if_match):
            return Expected(412, task_id, code="precondition_failed")
        changes = (task["trashed_at"] is None) != (trashed_at is None)
        return Expected(status, task_id, changes=changes, task={**task, "trashed_at": trashed_at})

    def remove(self, task_id: str, if_match: str | None) -> Expected:
        task = self.tasks.get(task_id)
        if task is None:
            return Expected(404)
        if self.is_stale(task, if_match):
            return Expected(412, task_id, code="precondition_failed")
        return Expected(204, task_id, changes=True)

    def undo(self, revision: int) -> Expected:
        if not self.forgotten < revision <= len(self.log):
            return Expected(404)
        entry = self.log[revision - 1]
        for later in self.log[revision:]:
            if later.task_id != entry.task_id:
                continue
            if "update" not in (entry.operation, later.operation) or later.operation != "update":
                return Expected(409, code="changed_since")
            if entry.operation != "update" or entry.fields & later.fields:
                return Expected(409, code="changed_since")
        if entry.operation == "create":
            return Expected(200, entry.task_id, changes=True)
        if entry.operation == "delete":
            return Expected(200, entry.task_id, changes=True, task=entry.before)
        before = entry.before or {}
        task = {**self.tasks[entry.task_id], **{name: before[name] for name in entry.fields}}
        return Expected(200, entry.task_id, changes=True, task=task)

    @staticmethod
    def is_stale(task: Task, if_match: str | None) -> bool:
        return if_match not in (None, "*", f'"{task["revision"]}"')

    def absorb(self, change: Change) -> None:
        """Apply a checked change to the model."""
        task_id = change["id"]
        before = self.tasks.pop(task_id, None)
        if change["state"] is not None:
            self.tasks[task_id] = change["state"]
        self.log.append(Entry(task_id, change["operation"], frozenset(change["fields"]), before))


def _without_defaults(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "id" and DEFAULTS.get(name, ...) != value}


class Devices(DeviceMachine):
    device_count = DEVICES

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.ids = [str(UUID(int=0x0197F0C2A6B47E0B8D3C << 48 | n)) for n in range(4)]

    @initialize()
    def begin_with_something(self) -> None:
        for title in ("Buy milk", "Buy bread"):
            self._write(0, Write("POST", "/tasks", {"title": title}), lose=False)

    # Operations of the user.

    @rule(device=devices, fields=all_fields, chosen=st.none() | which, key=keys, lose=st.booleans())
    def create(self, *, device: int, fields: dict[str, Any], chosen: int | None, key: str | None, lose: bool) -> None:
        body = dict(fields) if chosen is None else {"id": self.ids[chosen % 4], **fields}
        self._write(device, Write("POST", "/tasks", body, key), lose=lose)

    @rule(device=devices, task=which, fields=some_fields, key=keys, match=matches, lose=st.booleans())
    def patch(
        self, *, device: int, task: int, fields: dict[str, Any], key: str | None, match: str | None, lose: bool
    ) -> None:
        self._write(device, Write("PATCH", self._path(task), fields, key, self._named(task, match)), lose=lose)

    @rule(device=devices, task=which, fields=all_fields, match=matches, lose=st.booleans())
    def put(self, *, device: int, task: int, fields: dict[str, Any], match: str | None, lose: bool) -> None:
        self._write(device, Write("PUT", self._path(task), fields, None, self._named(task, match)), lose=lose)

    @rule(
        device=devices,
        task=which,
        verb=st.sampled_from(["complete", "reopen", "restore"]),
        key=keys,
        match=matches,
        lose=st.booleans(),
    )
    def act(self, *, device: int, task: int, verb: str, key: str | None, match: str | None, lose: bool) -> None:
        path = f"{self._path(task)}/{verb}"
        self._write(device, Write("POST", path, None, key, self._named(task, match)), lose=lose)

    @rule(device=devices, task=which, match=matches, how=st.sampled_from(["", "?permanent=true"]), lose=st.booleans())
    def delete(self, *, device: int, task: int, match: str | None, how: str, lose: bool) -> None:
        self._write(device, Write("DELETE", self._path(task) + how, None, None, self._named(task, match)), lose=lose)

    @rule(device=devices, back=st.integers(0, 8), key=keys, lose=st.booleans())
    def undo(self, *, device: int, back: int, key: str | None, lose: bool) -> None:
        revision = max(1, len(self.model.log) - back)
        self._write(device, Write("POST", f"/changes/{revision}/undo", None, key), lose=lose)

    @precondition(lambda self: self.lost)
    @rule(device=devices, number=which)
    def retry(self, device: int, number: int) -> None:
        """Repeat a write whose response was lost, after any other steps."""
        self._write(device, self.lost.pop(number % len(self.lost)), lose=False)

    # Writes by other processes.

    @rule(priority=FIELDS["priority"])
    def write_by_sql(self, priority: str) -> None:
        self.has_written = True
        with psycopg.connect(self.world.url, autocommit=True) as connection:
            connection.execute("SET timezone = 'Asia/Kathmandu'")
            connection.execute("UPDATE tasks SET priority = %s WHERE user_id = %s", (priority, self.user_id))
        touched = {task_id for task_id, task in self.model.tasks.items() if task["priority"] != priority}
        changes = self._new_changes(len(touched))
        assert {change["id"] for change in changes} == touched
        for change in changes:
            old = self.model.tasks[change["id"]]
            assert change["state"] == {**old, "priority": priority, "revision": change["revision"]}
            self.model.absorb(change)

    @precondition(lambda self: len(self.model.log) > self.model.forgotten + 9)
    @rule(keep=st.integers(0, 8))
    def forget(self, keep: int) -> None:
        last = len(self.model.log) - keep
        with psycopg.connect(self.world.url, autocommit=True) as connection:
            connection.execute(
                "UPDATE changes SET changed_at = now() - interval '91 days' WHERE user_id = %s AND revision <= %s",
                (self.user_id, last),
            )
            place = connection.execute('SELECT count(*) FROM "user" WHERE id < %s', (self.user_id,)).fetchone()
            connection.execute("SELECT app.prune(90, %s)", place)
        self.model.forgotten = last

    # Reads of the devices.

    @rule(device=devices, limit=st.integers(1, 3))
    def start_again(self, device: int, limit: int) -> None:
        self.world.run(self.copies[device].start(limit=limit))

    @rule(device=devices, limit=st.integers(1, 3))
    def read_on(self, device: int, limit: int) -> None:
        copy = self.copies[device]
        if copy.revision is not None:
            self.world.run(copy.follow(limit=limit))
        elif copy.is_halfway:
            self.world.run(copy.read_on(limit=limit))
        if copy.revision == len(self.model.log) and not copy.is_behind:
            assert copy.tasks == self.model.tasks

    @rule(device=devices)
    def catch_up(self, device: int) -> None:
        self.world.run(self.copies[device].catch_up(limit=2))
        assert self.copies[device].tasks == self.model.tasks

    @invariant()
    def is_the_same_fetched_anew(self) -> None:
        if not self.has_written:
            return
        self.has_written = False
        tasks = {("task", task_id): task for task_id, task in self.model.tasks.items()}
        assert self.world.run(read_everything(self.clients[0])) == tasks
        assert violations(self.world.admin, self.user_id) == {}
        assert self._new_changes(0) == []

    # Checks.

    def _path(self, task: int) -> str:
        """Return the path of an existing task for most numbers, else of a deleted one or of an unused id."""
        existing = list(self.model.tasks)
        missing = [self.ids[0], *(entry.task_id for entry in self.model.log if entry.task_id not in self.model.tasks)]
        known = existing if existing and task < 5 else missing
        return f"/tasks/{known[-1 - task % len(known)]}"

    def _named(self, task: int, match: str | None) -> str | None:
        if match in (None, "*"):
            return match
        current = self.model.tasks.get(self._path(task).rpartition("/")[2], {"revision": 1})["revision"]
        return f'"{current if match == "current" else current - 1}"'

    def _write(self, device: int, write: Write, *, lose: bool) -> None:
        """Send a write and check its result. If the response is lost, the device does not know it and will retry."""
        response = self.world.run(write.send(self.clients[device]))
        if lose:
            self.lost.append(write)
        self.has_written = True
        self.world.outcomes[f"{write.kind} {response.status_code}"] += 1
        if "idempotency-replayed" in response.headers:
            self.world.outcomes["replayed"] += 1
            assert (write.digested, _answer(response)) == self.model.stored[write.key or ""]
            return
        digested, _ = self.model.stored.get(write.key or "", (write.digested, None))
        if digested != write.digested:
            assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
            return
        expected = self._expected(write)
        assert response.status_code == expected.status, (write, response.text)
        assert expected.code is None or response.json()["code"] == expected.code
        # A key with a stored response must have been replayed above.
        assert not (expected.changes and write.key in self.model.stored)
        if expected.changes:
            self._absorb(write, expected, response)
        elif expected.status == 200:
            assert response.json() == self.model.tasks[expected.task_id or ""]
        elif expected.status == 412:
            assert response.json()["current"] == self.model.tasks[expected.task_id or ""]
        # A POST that found its task already created has stored no response.
        if write.key and response.is_success and (expected.changes or write.path != "/tasks"):
            self.model.stored[write.key] = (write.digested, _answer(response))

    def _absorb(self, write: Write, expected: Expected, response: Response) -> None:
        """Check the single change of a write, and apply it to the model."""
        [change] = self._new_changes(1)
        task_id = expected.task_id or response.json()["id"]
        operation = "create" if task_id not in self.model.tasks else "update" if expected.task else "delete"
        assert (change["id"], change["operation"]) == (task_id, operation)
        state = change["state"]
        if write.path.endswith("/undo"):
            undone = response.json()
            assert (undone["revision"], undone["state"]) == (change["revision"], state)
        elif response.status_code != 204:
            assert response.json() == state
        if expected.task is not None:
            self._check_state(state, expected.task, change["revision"])
        if write.path == "/tasks":
            self.model.bodies[task_id] = _without_defaults(write.body)
        self.model.absorb(change)

    def _check_state(self, state: Task, wanted: Task, revision: int) -> None:
        """Compare the fields. Of the times, only what can be known is compared."""
        assert state["revision"] == revision
        times = {*STAMPS, "completed_at", "trashed_at"}
        assert {name: value for name, value in state.items() if name in wanted and name not in times} == {
            name: value for name, value in wanted.items() if name not in times
        }
        assert (state["completed_at"] is None) == (state["status"] != "completed")
        assert (state["trashed_at"] is None) == (wanted.get("trashed_at") is None)
        if wanted.get("status") == "completed" and wanted.get("completed_at") is not None:
            assert state["completed_at"] == wanted["completed_at"]
        assert datetime.fromisoformat(state["updated_at"]) <= datetime.now(UTC)
        assert state["updated_at"] >= wanted.get("updated_at", "")

    def _expected(self, write: Write) -> Expected:
        _, resource, *rest = write.path.split("/")
        if resource == "changes":
            return self.model.undo(int(rest[0]))
        if not rest:
            return self.model.create(write.body)
        task_id = rest[0].removesuffix("?permanent=true")
        plain = {
            "DELETE": self.model.trash,
            "remove": self.model.remove,
            "reopen": self.model.reopen,
            "restore": self.model.restore,
        }
        if write.kind in plain:
            return plain[write.kind](task_id, write.if_match)
        fields = {"PUT": {**DEFAULTS, **(write.body or {})}, "PATCH": write.body, "complete": {"status": "completed"}}
        return self.model.change(task_id, fields[write.kind], write.if_match)

    def _new_changes(self, count: int) -> list[Change]:
        """Return the new changes in the feed, of which there must be ``count``."""
        changes = self.world.run(self.witness.follow())
        assert len(changes) == count, changes
        assert self.witness.revision == len(self.model.log) + count
        return changes


def _answer(response: Response) -> Any:
    return response.status_code, response.json()


# Task: T-171
class TestDevices:
    def test_devices_converge_to_the_state_of_the_server(self, world: StatefulApp) -> None:
        run_machine(Devices, world, runs=60)

        # The runs must produce most outcomes. Some are rare and do not occur every time.
        missing = {outcome for outcome in OUTCOMES if not world.outcomes[outcome]}
        assert len(missing) < len(OUTCOMES) / 5, missing
