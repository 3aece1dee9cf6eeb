"""Two devices and all features: subtrees, series, categories, tags, positions, the trash, batches and the profile.

There is no model of the expected results: other tests check them. Whatever the response, the feed contains exactly what
changed, a rejected request changes nothing, an immediate repetition changes nothing more, a copy equals the state that
is fetched anew, and derived data match the rows.
"""

from typing import Any

import pytest
from httpx import Response
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from support.invariants import violations
from support.state_machines import DeviceMachine, StatefulApp, Write, run_machine
from support.sync import Change, Key, Object, as_routes_return, read_everything
from todo.models.entities import ENTITY_MODELS
from todo.models.tasks import TaskBase

pytestmark = pytest.mark.slow

DEVICES = 2
MAX_LOST = 4
# Idempotent kinds of writes: a repetition finds the requested state.
IDEMPOTENT_KINDS = {"PATCH", "DELETE", "restore", "reopen", "move"}

TAGS = st.lists(st.sampled_from(["work", "Work", "home", "shop"]), max_size=3, unique_by=str.lower)
ZONES = st.sampled_from(["UTC", "America/New_York", "Pacific/Auckland"])
RULES = st.sampled_from(["FREQ=DAILY", "FREQ=MONTHLY", "FREQ=DAILY;COUNT=3", "FREQ=WEEKLY;INTERVAL=2"])
RECURRENCE = st.fixed_dictionaries(
    {"rule": RULES},
    optional={"from": st.sampled_from(["due", "completion"]), "missed": st.sampled_from(["skip", "keep"])},
)
DUE = st.sampled_from(["2026-03-10", "2026-03-10T09:00:00", "2027-03-10T08:00:00Z", "2026-03-29T02:30:00"])
TITLES = st.sampled_from(["Buy milk", "Brot kaufen", "牛乳"])
FIELDS: dict[str, Any] = {
    "description": st.sampled_from([None, "Two litres of milk"]),
    "status": st.sampled_from(["pending", "in_progress", "completed", "cancelled"]),
    "priority": st.sampled_from(["low", "high"]),
    "due_time_zone": st.none() | ZONES,
    "tags": TAGS,
}
WHEN: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"due_date": st.none() | DUE}),
    st.fixed_dictionaries({"due_date": DUE, "recurrence": RECURRENCE}, optional={"start_date": st.just("2026-03-01")}),
    st.fixed_dictionaries({"recurrence": st.none() | RECURRENCE}),
)
# Numbers that become ids of existing objects, or unknown ids, when they are sent.
which = st.integers(0, 9)
PLACES = {"category_id": st.none() | which, "parent_id": st.none() | which}
some_fields = st.builds(
    lambda fields, when: fields | when, st.fixed_dictionaries({}, optional={"title": TITLES, **FIELDS, **PLACES}), WHEN
)
new_task = st.builds(
    lambda fields, when: fields | when, st.fixed_dictionaries({"title": TITLES}, optional={**FIELDS, **PLACES}), WHEN
)
a_move = st.fixed_dictionaries({}, optional=PLACES).flatmap(
    lambda places: st.sampled_from(["after_id", "before_id"]).flatmap(
        lambda side: st.fixed_dictionaries({**{name: st.just(at) for name, at in places.items()}, side: which})
    )
)
devices = st.integers(0, DEVICES - 1)
keys = st.none() | st.sampled_from("abcdef")
an_operation = st.one_of(
    st.fixed_dictionaries({"op": st.just("create"), "task": new_task}),
    st.fixed_dictionaries({"op": st.just("update"), "id": which, "changes": some_fields}),
    st.fixed_dictionaries({"op": st.sampled_from(["complete", "reopen"]), "id": which}),
    st.builds(lambda move, task: {"op": "move", "id": task, **move}, a_move, which),
    st.fixed_dictionaries({"op": st.just("delete"), "id": which}, optional={"permanent": st.booleans()}),
)
NAMES = st.sampled_from(["Work", "work", "Home", "Shop", "Garden"])
QUERIES = st.sampled_from([{"due": "today"}, {"tag": ["work"]}, {"sort": ["-priority"]}])

OUTCOMES = (
    *("POST 201", "PATCH 200", "PATCH 409", "PATCH 422", "DELETE 204", "remove 204", "restore 200"),
    *("complete 200", "complete 409", "reopen 200", "skip 200", "skip 409", "move 200", "move 409"),
    *("batch 200", "batch 409", "batch 422", "undo 200", "undo 409", "replayed"),
    *("PATCH /me 200", "POST /categories 201", "DELETE /categories 204", "PATCH /tags 200"),
    *("DELETE /tags 204", "POST /views 201", "PATCH /views 200", "DELETE /views 204"),
    *("advanced", "ended", "whole tree"),
)


class Families(DeviceMachine):
    device_count = DEVICES

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[Change, Object | None]] = []
        self.stored: dict[str, tuple[Any, Any]] = {}

    @property
    def objects(self) -> dict[Key, Object]:
        return self.witness.objects

    @initialize()
    def begin_with_something(self) -> None:
        """Add a tree of three levels. Its root and one of its subtasks are recurring."""
        self._write(0, Write("POST", "/categories", {"name": "Work"}), lose=False)
        category_id = self._id("category", 0)
        series = {"due_date": "2026-03-10", "recurrence": {"rule": "FREQ=DAILY", "missed": "keep"}}
        for title, below, more in (
            ("Party", None, {**series, "tags": ["Home"], "category_id": category_id}),
            ("Buy milk", "Party", {"tags": ["work", "shop"], "category_id": category_id}),
            ("Buy bread", "Party", series),
            ("Buy butter", "Buy milk", {"tags": ["shop"]}),
        ):
            made = {item.get("title"): item["id"] for item in self.objects.values()}
            body = {"title": title, "parent_id": made[below] if below else None, **more}
            self._write(0, Write("POST", "/tasks", body), lose=False)
        assert len(self.log) == 8

    # Tasks.

    @rule(device=devices, task=new_task, key=keys, lose=st.booleans())
    def create(self, device: int, task: dict[str, Any], key: str | None, *, lose: bool) -> None:
        self._write(device, Write("POST", "/tasks", self._named(task), key), lose=lose)

    @rule(device=devices, below=which, rule=RULES, recurs=st.booleans())
    def create_below(self, device: int, below: int, rule: str, *, recurs: bool) -> None:
        """Add a subtask, mostly of an existing task, so that trees grow."""
        body = self._named({"title": "Below", "parent_id": below})
        if recurs:
            body |= {"due_date": "2026-03-10", "recurrence": {"rule": rule, "missed": "keep"}}
        self._write(device, Write("POST", "/tasks", body), lose=False)

    @rule(device=devices, task=which, fields=some_fields, scope=st.none() | st.just("occurrence"), lose=st.booleans())
    def patch(self, device: int, task: int, fields: dict[str, Any], scope: str | None, *, lose: bool) -> None:
        body = self._named(fields) | ({} if scope is None else {"scope": scope})
        self._write(device, Write("PATCH", self._path("task", task), body), lose=lose)

    @rule(device=devices, task=which, verb=st.sampled_from(["complete", "reopen", "skip", "restore"]), key=keys)
    def act(self, device: int, task: int, verb: str, key: str | None) -> None:
        self._write(device, Write("POST", f"{self._path('task', task)}/{verb}", None, key), lose=key is not None)

    @rule(device=devices, task=which, verb=st.sampled_from(["complete", "skip"]))
    def act_on_the_occurrence(self, device: int, task: int, verb: str) -> None:
        """Complete or skip a given occurrence twice, as after a lost response. The second time has no effect."""
        path = self._path("task", task)
        known = self.objects.get(("task", path.rpartition("/")[2]), {})
        write = Write("POST", f"{path}/{verb}", {"occurrence": known.get("due_date") or "2026-03-10"})
        first = self._write(device, write, lose=False)
        if first.is_success and known["recurrence"] is not None:
            count = len(self.log)
            again = self._write(device, write, lose=False)
            assert (again.json(), len(self.log)) == (first.json(), count)

    @rule(device=devices, task=which, how=st.sampled_from(["", "", "?permanent=true"]), lose=st.booleans())
    def delete(self, device: int, task: int, how: str, *, lose: bool) -> None:
        self._write(device, Write("DELETE", self._path("task", task) + how), lose=lose)

    @rule(device=devices, task=which, move=a_move)
    def move(self, device: int, task: int, move: dict[str, Any]) -> None:
        self._write(device, Write("POST", f"{self._path('task', task)}/move", self._named(move)), lose=False)

    @rule(device=devices, operations=st.lists(an_operation, min_size=1, max_size=6), atomic=st.booleans(), key=keys)
    def batch(self, device: int, operations: list[dict[str, Any]], key: str | None, *, atomic: bool) -> None:
        body = {"operations": self._operations(operations), "atomic": atomic}
        self._write(device, Write("POST", "/tasks/batch", body, key), lose=True)

    @rule(device=devices, task=which)
    def trash_and_restore(self, device: int, task: int) -> None:
        """Move a subtree to the trash and restore it. It must be the same, in the same place."""
        path = self._path("task", task)
        task_id = path.rpartition("/")[2]
        if self.objects.get(("task", task_id), {"trashed_at": ""})["trashed_at"] is not None:
            return
        before = {key: _lasting(item) for key, item in self.objects.items()}
        below = self._below(task_id)

        self._write(device, Write("DELETE", path), lose=False)
        trashed = {item_id for (kind, item_id), item in self.objects.items() if kind == "task" and item["trashed_at"]}
        assert {task_id, *below} <= trashed
        assert self._write(device, Write("POST", f"{path}/restore"), lose=False).status_code == 200

        assert {key: _lasting(item) for key, item in self.objects.items()} == before
        self.world.outcomes["whole tree"] += len(below) > 0

    # Other entities.

    @rule(
        device=devices,
        category=which,
        name=NAMES,
        verb=st.sampled_from(["create", "change", "move", "delete", "trash"]),
        other=which,
    )
    def change_categories(self, device: int, category: int, name: str, verb: str, other: int) -> None:
        path = self._path("category", category)
        write = {
            "create": Write("POST", "/categories", {"name": name}),
            "change": Write("PATCH", path, {"name": name, "archived": other % 2 == 0}),
            "move": Write("POST", f"{path}/move", {"after_id": self._id("category", other)}),
            "delete": Write("DELETE", path),
            "trash": Write("DELETE", f"{path}?tasks=trash"),
        }[verb]
        self._write(device, write, lose=False)

    @rule(device=devices, name=st.sampled_from(["work", "HOME", "shop"]), new_name=st.sampled_from([None, "Home", "x"]))
    def change_tag(self, device: int, name: str, new_name: str | None) -> None:
        method, body = ("DELETE", None) if new_name is None else ("PATCH", {"name": new_name})
        self._write(device, Write(method, f"/tags/{name}", body), lose=False)

    @rule(device=devices, view=which, name=NAMES, query=QUERIES, verb=st.sampled_from(["create", "change", "delete"]))
    def change_views(self, device: int, view: int, name: str, query: dict[str, Any], verb: str) -> None:
        path = self._path("view", view)
        write = {
            "create": Write("POST", "/views", {"name": name, "query": query}),
            "change": Write("PATCH", path, {"query": query}),
            "delete": Write("DELETE", path),
        }[verb]
        self._write(device, write, lose=False)

    @rule(device=devices, zone=ZONES, day_start=st.sampled_from(["00:00", "03:00"]))
    def change_profile(self, device: int, zone: str, day_start: str) -> None:
        self._write(device, Write("PATCH", "/me", {"time_zone": zone, "day_start": day_start}), lose=False)

    @rule(device=devices, back=st.integers(0, 9), key=keys)
    def undo(self, device: int, back: int, key: str | None) -> None:
        revision = max(1, len(self.log) - back)
        self._write(device, Write("POST", f"/changes/{revision}/undo", None, key), lose=key is not None)

    @precondition(lambda self: self.lost)
    @rule(device=devices, number=which)
    def retry(self, device: int, number: int) -> None:
        """Repeat a write whose response was lost, after any other steps."""
        self._write(device, self.lost.pop(number % len(self.lost)), lose=False)

    # Reads of the devices.

    @rule(device=devices, limit=st.integers(1, 3))
    def start_again(self, device: int, limit: int) -> None:
        self.world.run(self.copies[device].start(limit=limit))

    @rule(device=devices, limit=st.integers(1, 5))
    def read_on(self, device: int, limit: int) -> None:
        copy = self.copies[device]
        if copy.revision is not None:
            self.world.run(copy.follow(limit=limit))
        elif copy.is_halfway:
            self.world.run(copy.read_on(limit=limit))
        if copy.revision == self.witness.revision and not copy.is_behind:
            assert copy.objects == self.objects

    @rule(device=devices)
    def catch_up(self, device: int) -> None:
        self.world.run(self.copies[device].catch_up(limit=7))
        assert self.copies[device].objects == self.objects

    @invariant()
    def is_the_same_fetched_anew(self) -> None:
        if not self.has_written:
            return
        self.has_written = False
        assert self.world.run(read_everything(self.clients[0])) == as_routes_return(self.objects)
        assert violations(self.world.admin, self.user_id) == {}

    # Ids of numbers.

    def _id(self, kind: str, number: int) -> str:
        """Return the id of an existing object for most numbers, else an unknown id."""
        existing = [item_id for of, item_id in self.objects if of == kind]
        unknown = "00000000-0000-4000-8000-000000000000"
        return existing[-1 - number % len(existing)] if existing and number < 9 else unknown

    def _path(self, kind: str, number: int) -> str:
        return f"/{ENTITY_MODELS[kind].snapshot_field}/{self._id(kind, number)}"

    def _named(self, fields: dict[str, Any], made: str | None = None) -> dict[str, Any]:
        kinds = {"category_id": "category", "parent_id": "task", "after_id": "task", "before_id": "task", "id": "task"}
        named = dict(fields)
        for name in fields.keys() & kinds.keys():
            if fields[name] is not None:
                is_made = made is not None and kinds[name] == "task" and fields[name] % 2 == 1
                named[name] = f"${made}" if is_made else self._id(kinds[name], fields[name])
        return named

    def _operations(self, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return operations with ids. An odd number stands for the last task that the batch creates, if any."""
        made: str | None = None
        all_named = []
        for n, operation in enumerate(operations):
            part = {"create": "task", "update": "changes"}.get(operation["op"])
            named = self._named(operation, made)
            if part is not None:
                named[part] = self._named(operation[part], made)
            if operation["op"] == "create":
                made = named["ref"] = f"task-{n}"
            all_named.append(named)
        return all_named

    def _below(self, task_id: str) -> set[str]:
        """Return the ids of the subtree below a task, without trashed tasks."""
        children = {
            item_id
            for (kind, item_id), item in self.objects.items()
            if kind == "task" and item["parent_id"] == task_id and item["trashed_at"] is None
        }
        return children.union(*(self._below(child) for child in children))

    # Checks.

    def _write(self, device: int, write: Write, *, lose: bool) -> Response:
        """Send a write and check its result. If the response is lost, the device will retry."""
        response = self.world.run(write.send(self.clients[device]))
        if lose and len(self.lost) < MAX_LOST:
            self.lost.append(write)
        self.has_written = True
        self._count(write, response)
        assert response.status_code in (200, 201, 204, 404, 409, 422), (write, response.text)
        changes = self._absorb()
        if "idempotency-replayed" in response.headers:
            self.world.outcomes["replayed"] += 1
            assert (changes, (write.digested, response.json())) == ([], self.stored[write.key or ""])
            return response
        if not response.is_success:
            assert changes == [], (write, response.text)
            return response
        if write.key is not None:
            # A key with a stored response must have been replayed above.
            assert write.key not in self.stored
            self.stored[write.key] = write.digested, response.json()
        self._check_answer(write, response)
        # Completing a series again completes its next occurrence.
        completes = write.method == "PATCH" and write.body.get("status") == "completed"
        if write.kind in IDEMPOTENT_KINDS and not completes and not lose and write.key is None:
            self._send_again(device, write, response)
        return response

    def _absorb(self) -> list[Change]:
        """Read the new changes, and check that each contains exactly what changed."""
        before = dict(self.objects)
        changes: list[Change] = []
        self.witness.is_behind = True
        while self.witness.is_behind:
            changes += self.world.run(self.witness.follow())
        for change in changes:
            key = change["type"], change["id"]
            old, new = before.get(key), change["state"]
            expected = {"create": (False, True), "update": (True, True), "delete": (True, False)}[change["operation"]]
            assert (old is not None, new is not None) == expected
            differing = {name for name in new or () if old and old[name] != new[name]} - {"revision", "updated_at"}
            assert set(change["fields"]) == differing
            if change["type"] == "task" and change["operation"] == "update" and "last_completed_at" in differing:
                self.world.outcomes["ended" if new["status"] == "completed" else "advanced"] += 1
            self.log.append((change, old))
            self.world.changed[change["type"]] += 1
            before |= {key: new} if new else {}
            if new is None:
                del before[key]
        assert self.witness.revision == len(self.log)
        return changes

    def _check_answer(self, write: Write, response: Response) -> None:
        """Check that the response contains the current state."""
        if response.status_code == 204 or write.path.startswith(("/me", "/tags")):
            return
        answer = response.json()
        if write.kind == "batch":
            for result in answer["results"]:
                if result["error"] is None:
                    assert result["task"] == self.objects.get(("task", result["id"]))
            return
        if write.kind == "undo":
            assert answer["state"] == self.objects.get((answer["type"], answer["id"]))
            return
        resource = write.path.split("/")[1]
        [kind] = [entity.name for entity in ENTITY_MODELS.values() if entity.snapshot_field == resource]
        assert answer == answer | self.objects[kind, answer["id"]]

    def _send_again(self, device: int, write: Write, first: Response) -> None:
        again = self.world.run(write.send(self.clients[device]))
        changes = self._absorb()
        assert changes == [], (write, changes)
        if again.is_success and first.status_code == 200:
            assert again.json() == first.json()

    def _count(self, write: Write, response: Response) -> None:
        resource = write.path.split("/")[1].partition("?")[0]
        at = "" if resource in ("tasks", "changes") else f" /{resource}"
        self.world.outcomes[f"{write.kind}{at} {response.status_code}"] += 1


def _lasting(item: Object) -> Object:
    return {name: value for name, value in item.items() if name not in ("revision", "updated_at")}


# Task: T-171
# Task: T-342
# Task: T-351
# Task: T-353
class TestFamilies:
    def test_runs_set_every_field_of_a_task(self) -> None:
        some_run_sets = {"title", "due_date", "start_date", "recurrence", *FIELDS, *PLACES}

        forgotten = TaskBase.model_fields.keys() - some_run_sets
        assert not forgotten, f"no run sets these fields: add values to FIELDS in this file for each of {forgotten}"

    def test_all_entities_converge_to_the_state_of_the_server(self, world: StatefulApp) -> None:
        run_machine(Families, world, runs=60)

        unchanged = ENTITY_MODELS.keys() - world.changed.keys()
        assert not unchanged, (
            f"no run changes these entities: add a rule to Families in this file for each of {unchanged}"
        )
        # The runs must produce most outcomes. Some are rare and do not occur every time.
        missing = {outcome for outcome in OUTCOMES if not world.outcomes[outcome]}
        assert len(missing) < len(OUTCOMES) / 5, dict(world.outcomes)
