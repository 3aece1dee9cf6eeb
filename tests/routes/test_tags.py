"""Tags over HTTP. Alice owns things; Bob must not learn that they exist."""

import random
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from httpx import AsyncClient, Response

from support import derived
from support.people import SECRET, client_of, sign_up
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
from support.trips import watched
from todo.kit.text import folded
from todo.main import create_app
from todo.services.tokens import SecretVerifier
from todo.settings import Settings

TOO_LONG = "Expected 50 characters or fewer."
NUL = "The character NUL (U+0000) cannot be stored."

# As typed, and as somebody else may type it.
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


async def tagged_with(client: AsyncClient, *tags: str, **fields: Any) -> dict[str, Any]:
    """A task that has these tags."""
    return await add_task(client, tags=list(tags), **fields)


async def counts_of(client: AsyncClient) -> dict[str, int]:
    """The tags of a client, in their order, and how many tasks have each."""
    listed = (await client.get("/tags")).json()
    assert listed["total"] == len(listed["tags"])
    return {tag["name"]: tag["tasks"] for tag in listed["tags"]}


async def tags_of(client: AsyncClient, task: dict[str, Any]) -> list[str]:
    tags: list[str] = (await client.get(f"/tasks/{task['id']}")).json()["tags"]
    return tags


async def rename(client: AsyncClient, old: str, new: Any, **options: Any) -> Response:
    return await client.patch(path_of(old), json={"name": new}, **options)


def wrong(database_url: str, user_id: str) -> dict[str, list[Any]]:
    """What does not follow from the user's rows."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        found = derived.wrong(connection, user_id)
        rows = connection.execute("SELECT tags, tag_keys FROM tasks WHERE user_id = %s", [user_id]).fetchall()
    # There each key is the tag in small letters, which is not all that makes two the same.
    found["each tag has its key"] = [row for row in rows if row[1] != list(dict.fromkeys(map(folded, row[0])))]
    return {name: rows for name, rows in found.items() if rows}


async def revision_of(client: AsyncClient) -> int:
    return int((await client.get("/tags")).headers["etag"].strip('"'))


# Task: T-341
class TestTagsOfATask:
    async def test_are_kept_as_typed_and_in_order(self, alice: AsyncClient) -> None:
        task = await tagged_with(alice, "Work", " corner  shop\n", "a/b", "🥛", "cafe\u0301")

        assert task["tags"] == ["Work", "corner  shop", "a/b", "🥛", "cafe\u0301"]
        assert await tags_of(alice, task) == task["tags"]

    async def test_are_one_when_they_differ_by_case_or_accents_alone(self, alice: AsyncClient) -> None:
        task = await tagged_with(alice, "Work", "b", "WORK", "Café", "cafe\u0301", "work ")

        assert task["tags"] == ["Work", "b", "Café"]

    async def test_are_up_to_twenty_of_up_to_fifty_characters(self, alice: AsyncClient) -> None:
        tags = [f"{number:02}" + "𝄞" * 48 for number in range(20)]

        assert (await tagged_with(alice, *tags))["tags"] == tags

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
    async def test_are_refused_where_they_are_wrong(
        self, alice: AsyncClient, tags: Any, pointer: str, detail: str
    ) -> None:
        task = await tagged_with(alice, "work")

        answers = [
            await alice.post("/tasks", json={"title": "Milk", "tags": tags}),
            await alice.put(f"/tasks/{task['id']}", json={"title": "Milk", "tags": tags}),
            await alice.patch(f"/tasks/{task['id']}", json={"tags": tags}),
        ]

        assert [(answer.status_code, problem_of(answer)) for answer in answers] == [
            (422, invalid((pointer, detail)))
        ] * 3
        assert await counts_of(alice) == {"work": 1}

    async def test_stay_unless_they_are_sent(self, alice: AsyncClient) -> None:
        task = await tagged_with(alice, "work")

        kept = await alice.patch(f"/tasks/{task['id']}", json={"title": "Bread"})
        cleared = await alice.patch(f"/tasks/{task['id']}", json={"tags": []})
        replaced = await alice.put(f"/tasks/{task['id']}", json={"title": "Bread"})

        assert [answer.json()["tags"] for answer in (kept, cleared, replaced)] == [["work"], [], []]


# Task: T-341
class TestList:
    async def test_is_empty_at_first(self, alice: AsyncClient) -> None:
        response = await alice.get("/tags")

        assert (response.status_code, response.json()) == (200, {"tags": [], "total": 0})
        assert response.headers["etag"] == '"0"'

    async def test_counts_each_tag_in_the_order_of_their_folded_names(self, alice: AsyncClient) -> None:
        await tagged_with(alice, "work", "Émile", "apple")
        await tagged_with(alice, "Work", "Zebra")
        await tagged_with(alice, "WORK")

        response = await alice.get("/tags")

        # Of several ways to type it the first by the characters' numbers.
        assert response.json() == {
            "tags": [
                {"name": "apple", "tasks": 1},
                {"name": "WORK", "tasks": 3},
                {"name": "Zebra", "tasks": 1},
                {"name": "Émile", "tasks": 1},
            ],
            "total": 4,
        }

    async def test_does_not_count_the_trash(self, alice: AsyncClient) -> None:
        parent = await tagged_with(alice, "home")
        await tagged_with(alice, "work", "home", parent_id=parent["id"])
        await tagged_with(alice, "Work")

        await alice.delete(f"/tasks/{parent['id']}")
        trashed = await counts_of(alice)
        await alice.post(f"/tasks/{parent['id']}/restore")

        assert trashed == {"Work": 1}
        assert await counts_of(alice) == {"home": 2, "Work": 2}

    async def test_shows_nothing_of_others(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await tagged_with(alice, "secret")
        await tagged_with(bob, "own")

        assert await counts_of(bob) == {"own": 1}

    async def test_is_not_sent_again_until_something_changes(self, alice: AsyncClient) -> None:
        task = await tagged_with(alice, "work")
        tag = (await alice.get("/tags")).headers["etag"]

        same = await alice.get("/tags", headers={"If-None-Match": tag})
        await alice.patch(f"/tasks/{task['id']}", json={"tags": ["work", "home"]})
        other = await alice.get("/tags", headers={"If-None-Match": tag})

        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        assert (other.status_code, other.json()["total"], other.headers["etag"]) == (200, 2, '"2"')


# Task: T-341
class TestRename:
    async def test_is_everywhere(self, alice: AsyncClient) -> None:
        one = await tagged_with(alice, "a", "Work", "z")
        other = await tagged_with(alice, "WORK")
        untouched = await tagged_with(alice, "a")

        response = await rename(alice, "work", "Office")

        assert (response.status_code, response.json()) == (200, {"name": "Office", "tasks": 2})
        assert [await tags_of(alice, task) for task in (one, other)] == [["a", "Office", "z"], ["Office"]]
        assert (await alice.get(f"/tasks/{untouched['id']}")).json() == untouched
        assert await counts_of(alice) == {"a": 2, "Office": 2, "z": 1}

    async def test_is_a_change_of_each_task_by_itself(self, alice: AsyncClient) -> None:
        tasks = [await tagged_with(alice, "work") for _ in range(3)]

        await rename(alice, "work", "Office")

        changes = (await alice.get("/changes", params={"since": 3})).json()["changes"]
        assert sorted(change["id"] for change in changes) == sorted(task["id"] for task in tasks)
        assert [(change["operation"], change["fields"]) for change in changes] == [("update", ["tags"])] * 3

    async def test_is_also_in_the_trash(self, alice: AsyncClient) -> None:
        task = await tagged_with(alice, "Work")
        await alice.delete(f"/tasks/{task['id']}")

        response = await rename(alice, "work", "Office")

        assert (response.status_code, response.json()) == (200, {"name": "Office", "tasks": 0})
        assert await counts_of(alice) == {}
        await alice.post(f"/tasks/{task['id']}/restore")
        assert await counts_of(alice) == {"Office": 1}

    async def test_is_in_every_occurrence_of_a_series(self, alice: AsyncClient) -> None:
        series = await tagged_with(alice, "Work", due_date="2026-03-10", recurrence={"rule": "FREQ=DAILY"})
        await alice.post(f"/tasks/{series['id']}/complete")

        response = await rename(alice, "work", "Office")
        following = await alice.post(f"/tasks/{series['id']}/complete")

        assert response.json() == {"name": "Office", "tasks": 2}
        assert following.json()["tags"] == ["Office"]
        assert await counts_of(alice) == {"Office": 3}

    async def test_merges_with_the_tag_of_the_new_name(self, alice: AsyncClient) -> None:
        both = await tagged_with(alice, "office", "x", "Work")
        one = await tagged_with(alice, "Work")
        other = await tagged_with(alice, "OFFICE")

        response = await rename(alice, "work", "Office")

        assert response.json() == {"name": "OFFICE", "tasks": 3}
        assert [await tags_of(alice, task) for task in (both, one, other)] == [["office", "x"], ["Office"], ["OFFICE"]]
        assert (await alice.get(f"/tasks/{other['id']}")).json() == other

    async def test_may_only_be_of_the_case(self, alice: AsyncClient) -> None:
        one = await tagged_with(alice, "x", "work")
        other = await tagged_with(alice, "WORK")

        response = await rename(alice, "Work", "wOrk")

        assert response.json() == {"name": "wOrk", "tasks": 2}
        assert [await tags_of(alice, task) for task in (one, other)] == [["x", "wOrk"], ["wOrk"]]

    async def test_onto_itself_changes_nothing(self, alice: AsyncClient) -> None:
        task = await tagged_with(alice, "Work")

        response = await rename(alice, "work", "Work")

        assert (response.status_code, response.json()) == (200, {"name": "Work", "tasks": 1})
        assert (await alice.get(f"/tasks/{task['id']}")).json() == task

    @pytest.mark.parametrize(("typed", "asked"), NAMES)
    async def test_finds_any_name(self, alice: AsyncClient, typed: str, asked: str) -> None:
        task = await tagged_with(alice, typed)

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
    async def test_refuses_what_no_tag_can_be(self, alice: AsyncClient, new: Any, detail: str) -> None:
        await tagged_with(alice, "work")

        response = await rename(alice, "work", new)

        assert (response.status_code, problem_of(response)) == (422, invalid(("/body/name", detail)))
        assert await counts_of(alice) == {"work": 1}

    @pytest.mark.parametrize(("name", "detail"), [(" ", TOO_SHORT), ("a" * 51, TOO_LONG), ("\x00", NUL)])
    async def test_refuses_a_name_that_no_tag_can_have(self, alice: AsyncClient, name: str, detail: str) -> None:
        answers = [await rename(alice, name, "other"), await alice.delete(path_of(name))]

        assert [problem_of(answer) for answer in answers] == [invalid(("/path/name", detail))] * 2

    async def test_treats_a_strangers_tag_as_missing(self, alice: AsyncClient, bob: AsyncClient) -> None:
        task = await tagged_with(alice, "secret")
        await tagged_with(bob, "own")

        foreign, missing = await rename(bob, "secret", "own"), await rename(bob, "nothing", "own")

        assert (foreign.status_code, problem_of(foreign)) == (404, NOT_FOUND)
        assert without_request_id(foreign) == without_request_id(missing)
        assert await tags_of(alice, task) == ["secret"]

    async def test_refuses_somebody_whose_account_is_gone(self, charlie: AsyncClient) -> None:
        assert problem_of(await rename(charlie, "work", "office")) == ACCOUNT_GONE

    async def test_happens_once_under_a_key(self, alice: AsyncClient) -> None:
        await tagged_with(alice, "work")
        key = {"Idempotency-Key": "once"}

        first = await rename(alice, "work", "office", headers=key)
        await tagged_with(alice, "office", "work")
        again = await rename(alice, "work", "office", headers=key)
        other = await rename(alice, "work", "home", headers=key)

        assert (first.json(), "idempotency-replayed" in first.headers) == ({"name": "office", "tasks": 1}, False)
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert await counts_of(alice) == {"office": 2, "work": 1}

    async def test_may_be_tried_again_under_the_same_key_when_there_was_no_such_tag(self, alice: AsyncClient) -> None:
        key = {"Idempotency-Key": "once"}
        missing = await rename(alice, "work", "office", headers=key)
        await tagged_with(alice, "work")

        found = await rename(alice, "work", "office", headers=key)

        assert [answer.status_code for answer in (missing, found)] == [404, 200]

    async def test_can_be_undone_of_one_task(self, alice: AsyncClient) -> None:
        one, other = [await tagged_with(alice, "x", "Work") for _ in range(2)]
        await rename(alice, "work", "Office")
        revision = (await alice.get(f"/tasks/{one['id']}")).json()["revision"]

        undone = await alice.post(f"/changes/{revision}/undo")

        assert undone.status_code == 200, undone.text
        assert [await tags_of(alice, task) for task in (one, other)] == [["x", "Work"], ["x", "Office"]]
        assert await counts_of(alice) == {"Office": 1, "Work": 1, "x": 2}

    async def test_of_a_thousand_tasks_is_in_time(self, alice: AsyncClient, database_url: str) -> None:
        for _ in range(10):
            operations = [{"op": "create", "task": {"title": "Milk", "tags": ["a", "Work"]}} for _ in range(100)]
            await alice.post("/tasks/batch", json={"operations": operations})

        response = await rename(alice, "work", "Office")

        assert (response.status_code, response.json()) == (200, {"name": "Office", "tasks": 1_000})
        assert await revision_of(alice) == 2_000
        assert wrong(database_url, (await alice.get("/me")).json()["id"]) == {}


# Task: T-341
class TestDelete:
    async def test_leaves_the_tasks(self, alice: AsyncClient) -> None:
        one = await tagged_with(alice, "a", "Work", "z")
        other = await tagged_with(alice, "WORK")

        response = await alice.delete(path_of("work"))

        assert (response.status_code, response.content) == (204, b"")
        assert [await tags_of(alice, task) for task in (one, other)] == [["a", "z"], []]
        assert await counts_of(alice) == {"a": 1, "z": 1}

    async def test_is_also_in_the_trash(self, alice: AsyncClient) -> None:
        task = await tagged_with(alice, "Work", "z")
        await alice.delete(f"/tasks/{task['id']}")

        response = await alice.delete(path_of("work"))

        assert response.status_code == 204
        assert (await alice.post(f"/tasks/{task['id']}/restore")).json()["tags"] == ["z"]

    @pytest.mark.parametrize(("typed", "asked"), NAMES)
    async def test_finds_any_name(self, alice: AsyncClient, typed: str, asked: str) -> None:
        task = await tagged_with(alice, typed)

        response = await alice.delete(path_of(asked))

        assert (response.status_code, await tags_of(alice, task)) == (204, [])

    async def test_answers_404_when_no_task_has_it(self, alice: AsyncClient, bob: AsyncClient) -> None:
        await tagged_with(alice, "secret")
        await tagged_with(bob, "own")
        await bob.delete(path_of("own"))

        answers = [await bob.delete(path_of(name)) for name in ("own", "secret", "nothing")]

        assert problem_of(answers[0]) == NOT_FOUND
        assert len({str(without_request_id(answer)) for answer in answers}) == 1
        assert await counts_of(alice) == {"secret": 1}

    async def test_refuses_somebody_whose_account_is_gone(self, charlie: AsyncClient) -> None:
        assert problem_of(await charlie.delete(path_of("work"))) == ACCOUNT_GONE


# Task: T-341
@pytest.mark.slow
class TestTable:
    """The table that tags are found in, after everything that can happen to a task."""

    @pytest.mark.parametrize("seed", range(4))
    async def test_is_in_step_with_the_tasks(self, alice: AsyncClient, database_url: str, seed: int) -> None:
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
            assert wrong(database_url, user_id) == {}, (kind, answer.text)

        assert len(done) > 8


# Task: T-341
class TestTrips:
    async def test_are_one_to_list_and_to_delete_and_two_to_rename(self, database_url: str) -> None:
        database, trips = watched(database_url)
        await database.open()
        app = create_app(Settings(), database, SecretVerifier(SECRET))
        async with client_of(app, sign_up(database_url, "alice")) as alice:
            await tagged_with(alice, "work")
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
