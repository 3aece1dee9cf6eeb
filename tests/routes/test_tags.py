"""Tags over HTTP. Alice owns things; Bob must not learn that they exist."""

import random
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from httpx import AsyncClient, Response

from support import invariants
from support.round_trips import watched
from support.tasks import (
    ACCOUNT_GONE,
    NOT_FOUND,
    NOT_TEXT,
    TOO_SHORT,
    add_task,
    invalid,
    problem_of,
    without_request_id,
)
from support.users import SECRET, client_of, sign_up
from todo.kit.text import fold_case
from todo.main import create_app
from todo.services.authentication import SecretVerifier
from todo.settings import Settings

TOO_LONG = "Expected 50 characters or fewer."
NUL = "The character NUL (U+0000) cannot be stored."

# Each as stored, and in an equivalent form.
NAMES = [
    ("Work", "wORK"),
    ("home/garden", "HOME/garden"),
    ("/", "/"),
    ("a/", "A/"),
    ("50%", "50%"),
    ("%2F", "%2f"),
    ("a%2Fb/c", "A%2fB/C"),
    ("corner shop", " Corner Shop "),
    ("🥛", "🥛"),
    ("👩‍👩‍👧", "👩‍👩‍👧"),
    ("Café", "CAFE\u0301"),
    ("cafe\u0301", "CAFÉ"),
    ("Straße", "STRASSE"),
    ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ("?a=1&b#c", "?A=1&B#C"),
    ("..a", "..A"),
    ("null", "NULL"),
    ("'; DROP TABLE tasks; --", "'; drop table TASKS; --"),
    ("a" * 50, "A" * 50),
]


def path_of(name: str) -> str:
    return f"/tags/{quote(name, safe='')}"


async def add_tagged_task(client: AsyncClient, *tags: str, **fields: Any) -> dict[str, Any]:
    """Create a task with these tags."""
    return await add_task(client, tags=list(tags), **fields)


async def counts_of(client: AsyncClient) -> dict[str, int]:
    """Return the number of tasks per tag, in the order of the list."""
    listed = (await client.get("/tags")).json()
    assert listed["total"] == len(listed["tags"])
    return {tag["name"]: tag["tasks"] for tag in listed["tags"]}


async def tags_of(client: AsyncClient, task: dict[str, Any]) -> list[str]:
    tags: list[str] = (await client.get(f"/tasks/{task['id']}")).json()["tags"]
    return tags


async def rename(client: AsyncClient, old: str, new: Any, **options: Any) -> Response:
    return await client.patch(path_of(old), json={"name": new}, **options)


def inconsistencies(database_url: str, user_id: str) -> dict[str, list[Any]]:
    """Return every inconsistency between the user's rows and what is derived from them."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        found = invariants.violations(connection, user_id)
        rows = connection.execute("SELECT tags, tag_keys FROM tasks WHERE user_id = %s", [user_id]).fetchall()
    # ``derived`` expects the tag in lower case as its key; folding does more.
    found["each tag has its key"] = [row for row in rows if row[1] != list(dict.fromkeys(map(fold_case, row[0])))]
    return {name: rows for name, rows in found.items() if rows}


async def revision_of(client: AsyncClient) -> int:
    return int((await client.get("/tags")).headers["etag"].strip('"'))


# Task: T-341
class TestTagsOfTask:
    async def test_tags_are_stored_as_typed_and_in_order(self, alice: AsyncClient) -> None:
        task = await add_tagged_task(alice, "Work", " corner  shop\n", "a/b", "🥛", "cafe\u0301")

        assert task["tags"] == ["Work", "corner  shop", "a/b", "🥛", "cafe\u0301"]
        assert await tags_of(alice, task) == task["tags"]

    async def test_tags_that_differ_only_in_case_or_accents_are_stored_once(self, alice: AsyncClient) -> None:
        task = await add_tagged_task(alice, "Work", "b", "WORK", "Café", "cafe\u0301", "work ")

        assert task["tags"] == ["Work", "b", "Café"]

    async def test_task_accepts_up_to_20_tags_of_up_to_50_characters(self, alice: AsyncClient) -> None:
        tags = [f"{number:02}" + "𝄞" * 48 for number in range(20)]

        assert (await add_tagged_task(alice, *tags))["tags"] == tags

    @pytest.mark.parametrize(
        ("tags", "pointer", "detail"),
        [
            (None, "/body/tags", "Expected a list."),
            ("work", "/body/tags", "Expected a list."),
            ([str(number) for number in range(21)], "/body/tags", "Expected 20 entries or fewer."),
            (["a", 1], "/body/tags/1", NOT_TEXT),
            (["a", None], "/body/tags/1", NOT_TEXT),
            ([""], "/body/tags/0", TOO_SHORT),
            ([" \t"], "/body/tags/0", TOO_SHORT),
            (["a" * 51], "/body/tags/0", TOO_LONG),
            (["a\x00b"], "/body/tags/0", NUL),
        ],
    )
    async def test_invalid_tags_are_rejected_with_a_pointer(
        self, alice: AsyncClient, tags: Any, pointer: str, detail: str
    ) -> None:
        task = await add_tagged_task(alice, "work")

        answers = [
            await alice.post("/tasks", json={"title": "Milk", "tags": tags}),
            await alice.put(f"/tasks/{task['id']}", json={"title": "Milk", "tags": tags}),
            await alice.patch(f"/tasks/{task['id']}", json={"tags": tags}),
        ]

        assert [(answer.status_code, problem_of(answer)) for answer in answers] == [
            (422, invalid((pointer, detail)))
        ] * 3
        assert await counts_of(alice) == {"work": 1}

    async def test_patch_keeps_absent_tags_and_put_clears_them(self, alice: AsyncClient) -> None:
        task = await add_tagged_task(alice, "work")

        kept = await alice.patch(f"/tasks/{task['id']}", json={"title": "Bread"})
        cleared = await alice.patch(f"/tasks/{task['id']}", json={"tags": []})
        replaced = await alice.put(f"/tasks/{task['id']}", json={"title": "Bread"})

        assert [answer.json()["tags"] for answer in (kept, cleared, replaced)] == [["work"], [], []]


# Task: T-341
# Task: T-375
class TestListTags:
    async def test_tag_list_is_empty_for_a_new_user(self, alice: AsyncClient) -> None:
        response = await alice.get("/tags")

        assert (response.status_code, response.json()) == (200, {"tags": [], "total": 0})
        assert response.headers["etag"] == '"0"'

    async def test_tag_list_contains_counts_in_the_order_of_folded_names(self, alice: AsyncClient) -> None:
        await add_tagged_task(alice, "work", "Émile", "apple")
        await add_tagged_task(alice, "Work", "Zebra")
        await add_tagged_task(alice, "WORK")

        response = await alice.get("/tags")

        # Of several spellings the first by code point is returned.
        assert response.json() == {
            "tags": [
                {"name": "apple", "tasks": 1},
                {"name": "WORK", "tasks": 3},
                {"name": "Zebra", "tasks": 1},
                {"name": "Émile", "tasks": 1},
            ],
            "total": 4,
        }

    async def test_tag_counts_exclude_trashed_tasks(self, alice: AsyncClient) -> None:
        parent = await add_tagged_task(alice, "home")
        await add_tagged_task(alice, "work", "home", parent_id=parent["id"])
        await add_tagged_task(alice, "Work")

        await alice.delete(f"/tasks/{parent['id']}")
        trashed = await counts_of(alice)
        await alice.post(f"/tasks/{parent['id']}/restore")

        assert trashed == {"Work": 1}
        assert await counts_of(alice) == {"home": 2, "Work": 2}

    async def test_tag_list_contains_only_the_users_own_tags(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await add_tagged_task(alice, "secret")
        await add_tagged_task(bob, "own")

        assert await counts_of(bob) == {"own": 1}

    async def test_tag_list_returns_304_until_something_changes(self, alice: AsyncClient) -> None:
        task = await add_tagged_task(alice, "work")
        tag = (await alice.get("/tags")).headers["etag"]

        same = await alice.get("/tags", headers={"If-None-Match": tag})
        await alice.patch(f"/tasks/{task['id']}", json={"tags": ["work", "home"]})
        other = await alice.get("/tags", headers={"If-None-Match": tag})

        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        assert (other.status_code, other.json()["total"], other.headers["etag"]) == (200, 2, '"2"')


# Task: T-341
class TestRenameTag:
    async def test_renaming_a_tag_updates_every_task_that_has_it(self, alice: AsyncClient) -> None:
        one = await add_tagged_task(alice, "a", "Work", "z")
        other = await add_tagged_task(alice, "WORK")
        untouched = await add_tagged_task(alice, "a")

        response = await rename(alice, "work", "Office")

        assert (response.status_code, response.json()) == (200, {"name": "Office", "tasks": 2})
        assert [await tags_of(alice, task) for task in (one, other)] == [["a", "Office", "z"], ["Office"]]
        assert (await alice.get(f"/tasks/{untouched['id']}")).json() == untouched
        assert await counts_of(alice) == {"a": 2, "Office": 2, "z": 1}

    async def test_renaming_a_tag_is_logged_as_a_change_of_each_task(self, alice: AsyncClient) -> None:
        tasks = [await add_tagged_task(alice, "work") for _ in range(3)]

        await rename(alice, "work", "Office")

        changes = (await alice.get("/changes", params={"since": 3})).json()["changes"]
        assert sorted(change["id"] for change in changes) == sorted(task["id"] for task in tasks)
        assert [(change["operation"], change["fields"]) for change in changes] == [("update", ["tags"])] * 3

    async def test_renaming_a_tag_updates_trashed_tasks(self, alice: AsyncClient) -> None:
        task = await add_tagged_task(alice, "Work")
        await alice.delete(f"/tasks/{task['id']}")

        response = await rename(alice, "work", "Office")

        assert (response.status_code, response.json()) == (200, {"name": "Office", "tasks": 0})
        assert await counts_of(alice) == {}
        await alice.post(f"/tasks/{task['id']}/restore")
        assert await counts_of(alice) == {"Office": 1}

    async def test_renaming_a_tag_updates_every_occurrence_of_a_series(self, alice: AsyncClient) -> None:
        series = await add_tagged_task(alice, "Work", due_date="2026-03-10", recurrence={"rule": "FREQ=DAILY"})
        await alice.post(f"/tasks/{series['id']}/complete")

        response = await rename(alice, "work", "Office")
        following = await alice.post(f"/tasks/{series['id']}/complete")

        assert response.json() == {"name": "Office", "tasks": 2}
        assert following.json()["tags"] == ["Office"]
        assert await counts_of(alice) == {"Office": 3}

    async def test_renaming_a_tag_to_an_existing_name_merges_both(self, alice: AsyncClient) -> None:
        both = await add_tagged_task(alice, "office", "x", "Work")
        one = await add_tagged_task(alice, "Work")
        other = await add_tagged_task(alice, "OFFICE")

        response = await rename(alice, "work", "Office")

        assert response.json() == {"name": "OFFICE", "tasks": 3}
        assert [await tags_of(alice, task) for task in (both, one, other)] == [["office", "x"], ["Office"], ["OFFICE"]]
        assert (await alice.get(f"/tasks/{other['id']}")).json() == other

    async def test_renaming_a_tag_can_change_only_its_case(self, alice: AsyncClient) -> None:
        one = await add_tagged_task(alice, "x", "work")
        other = await add_tagged_task(alice, "WORK")

        response = await rename(alice, "Work", "wOrk")

        assert response.json() == {"name": "wOrk", "tasks": 2}
        assert [await tags_of(alice, task) for task in (one, other)] == [["x", "wOrk"], ["wOrk"]]

    async def test_renaming_a_tag_to_its_own_name_changes_nothing(self, alice: AsyncClient) -> None:
        task = await add_tagged_task(alice, "Work")

        response = await rename(alice, "work", "Work")

        assert (response.status_code, response.json()) == (200, {"name": "Work", "tasks": 1})
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    @pytest.mark.parametrize(("typed", "asked"), NAMES)
    async def test_tag_with_any_name_can_be_renamed(self, alice: AsyncClient, typed: str, asked: str) -> None:
        task = await add_tagged_task(alice, typed)

        there = await rename(alice, asked, "other")
        back = await rename(alice, "other", asked)

        assert [(answer.status_code, answer.json()) for answer in (there, back)] == [
            (200, {"name": "other", "tasks": 1}),
            (200, {"name": asked.strip(), "tasks": 1}),
        ]
        assert await tags_of(alice, task) == [asked.strip()]

    @pytest.mark.parametrize(
        ("new", "detail"), [("", TOO_SHORT), ("  ", TOO_SHORT), ("a" * 51, TOO_LONG), (None, NOT_TEXT), ("\x00", NUL)]
    )
    async def test_invalid_new_tag_name_is_rejected(self, alice: AsyncClient, new: Any, detail: str) -> None:
        await add_tagged_task(alice, "work")

        response = await rename(alice, "work", new)

        assert (response.status_code, problem_of(response)) == (422, invalid(("/body/name", detail)))
        assert await counts_of(alice) == {"work": 1}

    @pytest.mark.parametrize(("name", "detail"), [(" ", TOO_SHORT), ("a" * 51, TOO_LONG), ("\x00", NUL)])
    async def test_invalid_tag_name_in_the_path_is_rejected(self, alice: AsyncClient, name: str, detail: str) -> None:
        answers = [await rename(alice, name, "other"), await alice.delete(path_of(name))]

        assert [problem_of(answer) for answer in answers] == [invalid(("/path/name", detail))] * 2

    async def test_renaming_another_users_tag_returns_404_like_an_unknown_one(
        self, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        task = await add_tagged_task(alice, "secret")
        await add_tagged_task(bob, "own")

        foreign, missing = await rename(bob, "secret", "own"), await rename(bob, "nothing", "own")

        assert (foreign.status_code, problem_of(foreign)) == (404, NOT_FOUND)
        assert without_request_id(foreign) == without_request_id(missing)
        assert await tags_of(alice, task) == ["secret"]

    async def test_renaming_a_tag_is_forbidden_after_the_account_was_deleted(self, charlie: AsyncClient) -> None:
        assert problem_of(await rename(charlie, "work", "office")) == ACCOUNT_GONE

    async def test_renaming_a_tag_with_a_known_idempotency_key_has_no_second_effect(self, alice: AsyncClient) -> None:
        await add_tagged_task(alice, "work")
        key = {"Idempotency-Key": "once"}

        first = await rename(alice, "work", "office", headers=key)
        await add_tagged_task(alice, "office", "work")
        again = await rename(alice, "work", "office", headers=key)
        other = await rename(alice, "work", "home", headers=key)

        assert (first.json(), "idempotency-replayed" in first.headers) == ({"name": "office", "tasks": 1}, False)
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert await counts_of(alice) == {"office": 2, "work": 1}

    async def test_idempotency_key_can_be_reused_after_renaming_an_unknown_tag(self, alice: AsyncClient) -> None:
        key = {"Idempotency-Key": "once"}
        missing = await rename(alice, "work", "office", headers=key)
        await add_tagged_task(alice, "work")

        found = await rename(alice, "work", "office", headers=key)

        assert [answer.status_code for answer in (missing, found)] == [404, 200]

    async def test_renaming_a_tag_can_be_undone_for_one_task(self, alice: AsyncClient) -> None:
        one, other = [await add_tagged_task(alice, "x", "Work") for _ in range(2)]
        await rename(alice, "work", "Office")
        revision = (await alice.get(f"/tasks/{one['id']}")).json()["revision"]

        undone = await alice.post(f"/changes/{revision}/undo")

        assert undone.status_code == 200, undone.text
        assert [await tags_of(alice, task) for task in (one, other)] == [["x", "Work"], ["x", "Office"]]
        assert await counts_of(alice) == {"Office": 1, "Work": 1, "x": 2}

    async def test_renaming_a_tag_of_1000_tasks_succeeds(self, alice: AsyncClient, database_url: str) -> None:
        for _ in range(10):
            operations = [{"op": "create", "task": {"title": "Milk", "tags": ["a", "Work"]}} for _ in range(100)]
            await alice.post("/tasks/batch", json={"operations": operations})

        response = await rename(alice, "work", "Office")

        assert (response.status_code, response.json()) == (200, {"name": "Office", "tasks": 1_000})
        assert await revision_of(alice) == 2_000
        assert inconsistencies(database_url, (await alice.get("/me")).json()["id"]) == {}


# Task: T-341
class TestDeleteTag:
    async def test_deleting_a_tag_removes_it_from_every_task(self, alice: AsyncClient) -> None:
        one = await add_tagged_task(alice, "a", "Work", "z")
        other = await add_tagged_task(alice, "WORK")

        response = await alice.delete(path_of("work"))

        assert (response.status_code, response.content) == (204, b"")
        assert [await tags_of(alice, task) for task in (one, other)] == [["a", "z"], []]
        assert await counts_of(alice) == {"a": 1, "z": 1}

    async def test_deleting_a_tag_removes_it_from_trashed_tasks(self, alice: AsyncClient) -> None:
        task = await add_tagged_task(alice, "Work", "z")
        await alice.delete(f"/tasks/{task['id']}")

        response = await alice.delete(path_of("work"))

        assert response.status_code == 204
        assert (await alice.post(f"/tasks/{task['id']}/restore")).json()["tags"] == ["z"]

    @pytest.mark.parametrize(("typed", "asked"), NAMES)
    async def test_tag_with_any_name_can_be_deleted(self, alice: AsyncClient, typed: str, asked: str) -> None:
        task = await add_tagged_task(alice, typed)

        response = await alice.delete(path_of(asked))

        assert (response.status_code, await tags_of(alice, task)) == (204, [])

    async def test_deleting_an_unknown_or_another_users_tag_returns_404(
        self, alice: AsyncClient, bob: AsyncClient
    ) -> None:
        await add_tagged_task(alice, "secret")
        await add_tagged_task(bob, "own")
        await bob.delete(path_of("own"))

        answers = [await bob.delete(path_of(name)) for name in ("own", "secret", "nothing")]

        assert problem_of(answers[0]) == NOT_FOUND
        assert len({str(without_request_id(answer)) for answer in answers}) == 1
        assert await counts_of(alice) == {"secret": 1}

    async def test_deleting_a_tag_is_forbidden_after_the_account_was_deleted(self, charlie: AsyncClient) -> None:
        assert problem_of(await charlie.delete(path_of("work"))) == ACCOUNT_GONE


# Task: T-341
@pytest.mark.slow
class TestTagTable:
    """The table ``task_tags``, compared with the tasks after random writes."""

    @pytest.mark.parametrize("seed", range(4))
    async def test_tag_table_is_consistent_with_the_tasks_after_every_write(
        self, alice: AsyncClient, database_url: str, seed: int
    ) -> None:
        chance = random.Random(seed)
        user_id = (await alice.get("/me")).json()["id"]
        ids = [str(uuid4()) for _ in range(6)]
        words = ["a", "A", "b/c", "B/C", "é", "e\u0301", "x y"]
        done = set()

        def some_tags() -> list[str]:
            return chance.sample(words, chance.randint(0, 4))

        def body() -> dict[str, Any]:
            repeats = chance.random() < 0.3
            return {"title": "Milk", "tags": some_tags()} | (
                {"due_date": "2026-03-10", "recurrence": {"rule": "FREQ=DAILY"}} if repeats else {}
            )

        for _ in range(80):
            task = f"/tasks/{chance.choice(ids)}"
            revision = await revision_of(alice)
            requests: dict[str, tuple[str, str, Any]] = {
                "create": ("POST", "/tasks", {"id": chance.choice(ids), **body()}),
                "replace": ("PUT", task, body()),
                "update": ("PATCH", task, {"tags": some_tags()}),
                "trash": ("DELETE", task, None),
                "restore": ("POST", f"{task}/restore", None),
                "remove": ("DELETE", f"{task}?permanent=true", None),
                "complete": ("POST", f"{task}/complete", None),
                "undo": ("POST", f"/changes/{chance.randint(max(1, revision - 5), max(1, revision))}/undo", None),
                "rename": ("PATCH", path_of(chance.choice(words)), {"name": chance.choice(words)}),
                "drop": ("DELETE", path_of(chance.choice(words)), None),
                "batch": (
                    "POST",
                    "/tasks/batch",
                    {
                        "atomic": False,
                        "operations": [
                            {"op": "create", "task": {"id": chance.choice(ids), **body()}},
                            {"op": "update", "id": chance.choice(ids), "changes": {"tags": some_tags()}},
                            {"op": "delete", "id": chance.choice(ids), "permanent": chance.random() < 0.3},
                        ],
                    },
                ),
            }
            kind = chance.choice([*requests, "create", "create"])
            method, path, content = requests[kind]
            answer = await alice.request(method, path, json=content)
            assert answer.status_code < 500, answer.text
            if answer.is_success:
                done.add(kind)
            assert inconsistencies(database_url, user_id) == {}, (kind, answer.text)

        assert len(done) > 8


# Task: T-341
class TestRoundTrips:
    async def test_listing_and_deleting_tags_take_one_round_trip_and_renaming_takes_two(
        self, database_url: str
    ) -> None:
        database, trips = watched(database_url)
        await database.open()
        app = create_app(Settings(), database, SecretVerifier(SECRET))
        async with client_of(app, sign_up(database_url, "alice")) as alice:
            await add_tagged_task(alice, "work")
            counted = []
            for method, path, body in (
                ("GET", "/tags", None),
                ("PATCH", "/tags/work", {"name": "office"}),
                ("DELETE", "/tags/office", None),
            ):
                trips.count = 0
                response = await alice.request(method, path, json=body)
                counted.append((response.status_code, trips.count))
        await database.close()

        assert counted == [(200, 1), (200, 2), (204, 1)]
