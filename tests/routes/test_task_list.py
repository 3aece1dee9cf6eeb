"""Task lists over HTTP: filters, sort orders, search and pagination."""

import base64
import itertools
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
import pytest
from httpx import AsyncClient

from support.categories import add_category
from support.filters import applied_filters
from support.tasks import TOO_SHORT, UUID_EXPECTED, add_task, instant, invalid, problem_of, read_all_pages

UNKNOWN_CURSOR = "This is not a cursor of this list. Start without one."
OTHER_QUERY = "This cursor belongs to other filters or another order. Repeat those, or start without one."
SORT_EXPECTED = (
    "Expected up to 5 of created_at, updated_at, completed_at, due_date, start_date, priority, status, title, position,"
    " each once and with a - in front for descending."
)
DUE_EXPECTED = (
    "Expected a date (2026-03-10), a date and time (2026-03-10T09:00:00), or one with an offset (2026-03-10T09:00:00Z)."
)
NO_SUCH_TIME = "There is no such time. Hours go from 00 to 23, minutes and seconds from 00 to 59."
NO_SUCH_DATE = "There is no such date. Check the day and the month; years go from 0001 to 9999."


async def page_of(client: AsyncClient, query: str = "") -> dict[str, Any]:
    """Return the page of a query."""
    response = await client.get(f"/tasks?{query}")
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


async def found(client: AsyncClient, query: str) -> list[str]:
    """Return the titles that a query finds, in order."""
    return [task["title"] for task in (await page_of(client, query))["tasks"]]


def at(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Set the current instant."""
    monkeypatch.setattr("todo.routes.tasks.utc_now", lambda: datetime.fromisoformat(text).astimezone(UTC))


# Task: T-371
class TestFilters:
    async def test_filters_are_combined_with_and(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        wanted = {"priority": "high", "category_id": category["id"], "tags": ["Home"], "due_date": "2026-03-10"}
        await add_task(alice, title="Found", **wanted)
        others: list[dict[str, Any]] = [
            {"priority": "low"},
            {"category_id": None},
            {"tags": []},
            {"due_date": None},
            {"status": "completed"},
        ]
        for different in others:
            await add_task(alice, title="Not found", **{**wanted, **different})

        page = await page_of(
            alice,
            f"status=pending&priority=high&category_id={category['id']}&tag=home&due_before=2026-03-11&q=foun*",
        )

        assert ([task["title"] for task in page["tasks"]], page["total"]) == (["Found"], 1)

    async def test_tasks_are_filtered_by_category(self, alice: AsyncClient) -> None:
        category = await add_category(alice)
        await add_task(alice, title="In", category_id=category["id"])
        await add_task(alice, title="Out")

        assert await found(alice, f"category_id={category['id'].upper()}") == ["In"]
        assert await found(alice, "category_id=none") == ["Out"]
        assert await found(alice, f"category_id={uuid4()}") == []
        assert (await page_of(alice, "category_id=none&status=pending"))["total"] == 1

    async def test_tasks_are_filtered_by_parent(self, alice: AsyncClient) -> None:
        parent = await add_task(alice, title="Parent")
        child = await add_task(alice, title="Child", parent_id=parent["id"])
        await add_task(alice, title="Grandchild", parent_id=child["id"])

        assert await found(alice, f"parent_id={parent['id']}") == ["Child"]
        assert await found(alice, "parent_id=none") == ["Parent"]

    async def test_tasks_are_filtered_by_required_and_excluded_tags(self, alice: AsyncClient) -> None:
        await add_task(alice, title="None")
        await add_task(alice, title="One", tags=["Straße"])
        await add_task(alice, title="Both", tags=["STRASSE", "Home"])

        assert await found(alice, "tag=strasse") == ["Both", "One"]
        assert await found(alice, "tag=Straße&tag=home") == ["Both"]
        assert await found(alice, "tag=Straße&tag=STRASSE") == ["Both", "One"]
        assert await found(alice, "tag=strasse&not_tag=HOME") == ["One"]
        assert await found(alice, "not_tag=home") == ["One", "None"]
        assert await found(alice, "not_tag=home&not_tag=strasse") == ["None"]

    async def test_tasks_are_filtered_by_creation_update_and_completion_time(
        self, alice: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for day in (9, 10, 11):
            at(monkeypatch, f"2026-03-{day:02}T12:00:00Z")
            await add_task(alice, title=str(day), status="completed")

        for name in ("created", "updated", "completed"):
            assert await found(alice, f"{name}_before=2026-03-10") == ["9"]
            assert await found(alice, f"{name}_after=2026-03-10") == ["11"]
            assert await found(alice, f"{name}_before=2026-03-10T12:00:00Z") == ["9"]
            assert await found(alice, f"{name}_after=2026-03-10T12:00:00") == ["11"]
            assert await found(alice, f"{name}_after=2026-03-10T12:59:59%2B01:00&{name}_before=2026-03-11") == ["10"]

    # Task: T-451
    async def test_filters_list_no_task_without_a_sort_key_that_they_declare_as_not_null(
        self, alice: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for day, status in itertools.product((9, 10, 11), ("pending", "completed")):
            at(monkeypatch, f"2026-03-{day:02}T12:00:00Z")
            await add_task(alice, status=status)
            await add_task(alice, status=status, due_date=f"2026-03-{day:02}")

        at(monkeypatch, "2026-03-10T12:00:00Z")
        values: dict[str, list[str | None]] = {}
        for applied in applied_filters():
            for key in applied.variant.non_null_keys:
                page = await page_of(alice, f"{applied.variant.example}&sort=-{key}")
                values[f"{applied}: {key}"] = [task[key] for task in page["tasks"]]

        assert {name for name, found in values.items() if None in found} == set()
        assert {name for name, found in values.items() if not found} == set(), "add a task that these examples find"

    async def test_trashed_tasks_are_listed_only_on_request(self, alice: AsyncClient) -> None:
        trashed = await add_task(alice, title="Gone milk", tags=["home"])
        await add_task(alice, title="Here milk", tags=["home"])
        await alice.delete(f"/tasks/{trashed['id']}")

        for query in ("", "tag=home", "not_tag=x", "q=milk", "q=mil*", "due=none", "sort=title", "category_id=none"):
            assert await found(alice, query) == ["Here milk"]
            assert await found(alice, f"{query}&trashed=true") == ["Gone milk"]

    @pytest.mark.parametrize(
        ("query", "name", "detail"),
        [
            ("status=done", "status/0", "Expected 'pending', 'in_progress', 'completed' or 'cancelled'."),
            ("category_id=", "category_id", f"{UUID_EXPECTED[:-1]}, or none."),
            ("parent_id=null", "parent_id", f"{UUID_EXPECTED[:-1]}, or none."),
            ("tag=", "tag/0", TOO_SHORT),
            ("not_tag=" + "a" * 51, "not_tag/0", "Expected 50 characters or fewer."),
            ("&".join(["tag=a"] * 21), "tag", "Expected 20 entries or fewer."),
            ("due=tomorrow", "due", "Expected 'none', 'today', 'overdue', 'upcoming' or 'week'."),
            ("due_before=2026-02-30", "due_before", NO_SUCH_DATE),
            ("due_after=0", "due_after", DUE_EXPECTED),
            ("completed_after=", "completed_after", DUE_EXPECTED),
            ("created_before=yesterday", "created_before", DUE_EXPECTED),
            ("updated_before=2026-03-10T25:99", "updated_before", NO_SUCH_TIME),
            ("trashed=1", "trashed", "Expected true or false."),
            ("q=", "q", "The search has no words. Give at least one, as in milk or choc*."),
            ("q=-milk", "q", "The search only excludes words. Give at least one word that must occur."),
            ("sort=", "sort", SORT_EXPECTED),
            ("sort=colour", "sort", SORT_EXPECTED),
            ("sort=--title", "sort", SORT_EXPECTED),
            ("sort=title,-title", "sort", SORT_EXPECTED),
            ("sort=trashed_at", "sort", SORT_EXPECTED),
            ("view=x", "view", UUID_EXPECTED),
            ("cursor=x", "cursor", UNKNOWN_CURSOR),
            ("limit=101", "limit", "Expected 100 or less."),
            ("colour=red", "colour", "There is no such parameter here."),
        ],
    )
    async def test_invalid_query_parameter_is_rejected_with_a_pointer(
        self, alice: AsyncClient, query: str, name: str, detail: str
    ) -> None:
        response = await alice.get(f"/tasks?{query}")

        assert (response.status_code, problem_of(response)) == (422, invalid((f"/query/{name}", detail)))

    @pytest.mark.parametrize("filter_", ["", "trashed=true", "tag=a", "sort=title", "q=milk"])
    async def test_largest_possible_skip_returns_an_empty_page(self, alice: AsyncClient, filter_: str) -> None:
        await add_task(alice, title="Milk", tags=["a"])

        assert await found(alice, f"{filter_}&skip=2147483647&limit=100") == []


# Task: T-371
class TestDueFilters:
    async def test_due_none_finds_only_undated_tasks_and_other_due_filters_find_none_of_them(
        self, alice: AsyncClient
    ) -> None:
        await add_task(alice, title="Undated", start_date="2026-03-10")
        for due in ("2026-03-10", "2026-03-10T09:00:00", "2026-03-10T09:00:00Z", "0001-01-01", "9999-12-31"):
            await add_task(alice, title=due, due_date=due)

        assert await found(alice, "due=none") == ["Undated"]
        for query in ("due_before=9999-12-31", "due_after=0001-01-01", "due=overdue", "due=upcoming"):
            assert "Undated" not in await found(alice, query)
        assert await found(alice, "due=none&due_before=9999-12-31") == []

    async def test_due_before_and_due_after_a_day_exclude_the_day(self, alice: AsyncClient) -> None:
        await alice.patch("/me", json={"time_zone": "America/New_York", "day_start": "03:00"})
        for due in ("2026-03-09", "2026-03-10T02:59:00", "2026-03-10T03:00:00", "2026-03-10", "2026-03-11T03:00:00"):
            await add_task(alice, title=due, due_date=due)

        # The user's day starts at 03:00.
        assert await found(alice, "due_before=2026-03-10") == ["2026-03-10T02:59:00", "2026-03-09"]
        assert await found(alice, "due_after=2026-03-10") == ["2026-03-11T03:00:00"]
        assert await found(alice, "due_after=2026-03-09&due_before=2026-03-11") == ["2026-03-10T03:00:00", "2026-03-10"]
        assert await found(alice, "due_before=2026-03-10T06:59:30Z") == ["2026-03-10T02:59:00"]
        assert await found(alice, "due_after=2026-03-10T02:59:59&due_before=2026-03-10T03:00:01") == [
            "2026-03-09",
            "2026-03-10T03:00:00",
        ]

    async def test_due_filters_use_the_users_time_zone(
        self, alice: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await alice.patch("/me", json={"time_zone": "Australia/Sydney"})
        await add_task(alice, title="Call", due_date="2026-03-10T17:00:00")

        at(monkeypatch, "2026-03-10T09:00:00+11:00")
        assert await found(alice, "due=today") == ["Call"]
        assert await found(alice, "due=overdue") == []
        assert await found(alice, "due=upcoming") == []
        at(monkeypatch, "2026-03-10T17:00:01+11:00")
        assert await found(alice, "due=overdue") == ["Call"]
        at(monkeypatch, "2026-03-09T23:59:00+11:00")
        assert await found(alice, "due=upcoming") == ["Call"]

    @pytest.mark.parametrize(
        ("zone", "begins", "ends"),
        [
            ("Pacific/Honolulu", "2026-03-10T00:00:00-10:00", "2026-03-11T00:00:00-10:00"),
            ("Pacific/Kiritimati", "2026-03-10T00:00:00+14:00", "2026-03-11T00:00:00+14:00"),
            ("Europe/Berlin", "2026-03-10T00:00:00+01:00", "2026-03-11T00:00:00+01:00"),
        ],
    )
    async def test_all_day_task_is_not_overdue_until_the_users_day_ends(
        self, alice: AsyncClient, monkeypatch: pytest.MonkeyPatch, zone: str, begins: str, ends: str
    ) -> None:
        await alice.patch("/me", json={"time_zone": zone})
        await add_task(alice, title="All day", due_date="2026-03-10")

        for now in (begins, ends.replace("-11T00:00:00", "-10T23:59:59.999999")):
            at(monkeypatch, now)
            assert (await found(alice, "due=today"), await found(alice, "due=overdue")) == (["All day"], [])
        at(monkeypatch, ends)
        assert (await found(alice, "due=today"), await found(alice, "due=overdue")) == ([], ["All day"])

    async def test_due_today_includes_times_before_the_next_day_start(
        self, alice: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await alice.patch("/me", json={"day_start": "03:00"})
        await add_task(alice, title="All day", due_date="2026-03-10")
        await add_task(alice, title="At two", due_date="2026-03-11T02:00:00")

        at(monkeypatch, "2026-03-11T01:30:00Z")

        assert await found(alice, "due=today") == ["At two", "All day"]
        assert await found(alice, "due=overdue") == []

    async def test_due_overdue_and_due_upcoming_find_only_open_tasks(
        self, alice: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for status in ("pending", "in_progress", "completed", "cancelled"):
            await add_task(alice, title=status, status=status, due_date="2026-03-10")

        at(monkeypatch, "2026-03-10T12:00:00Z")
        assert sorted(await found(alice, "due=today")) == ["cancelled", "completed", "in_progress", "pending"]
        at(monkeypatch, "2026-03-12T12:00:00Z")
        assert sorted(await found(alice, "due=overdue")) == ["in_progress", "pending"]
        at(monkeypatch, "2026-03-08T12:00:00Z")
        assert sorted(await found(alice, "due=upcoming")) == ["in_progress", "pending"]

    @pytest.mark.parametrize(
        ("week_start", "days"),
        [("monday", range(9, 16)), ("sunday", range(8, 15)), ("tuesday", range(10, 17)), ("wednesday", range(4, 11))],
    )
    async def test_due_week_begins_on_the_users_first_day_of_the_week(
        self, alice: AsyncClient, monkeypatch: pytest.MonkeyPatch, week_start: str, days: range
    ) -> None:
        await alice.patch("/me", json={"week_start": week_start})
        for day in range(2, 18):
            await add_task(alice, title=str(day), due_date=f"2026-03-{day:02}")

        # A Tuesday.
        at(monkeypatch, "2026-03-10T12:00:00Z")

        assert await found(alice, "due=week") == [str(day) for day in days]

    async def test_due_filters_follow_the_user_to_another_time_zone(
        self, alice: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await add_task(alice, title="Call", due_date="2026-03-10T09:00:00")
        at(monkeypatch, "2026-03-10T08:30:00Z")
        before = await found(alice, "due=overdue")

        await alice.patch("/me", json={"time_zone": "Europe/Berlin"})

        assert (before, await found(alice, "due=overdue")) == ([], ["Call"])


# Task: T-371
class TestSort:
    TASKS = (
        {"title": "b", "priority": "low", "due_date": "2026-03-10", "status": "completed"},
        {"title": "A", "priority": "high", "due_date": None},
        {"title": "c", "priority": "medium", "due_date": "2026-03-09", "status": "cancelled"},
        {"title": "D", "priority": "high", "due_date": "2026-03-11T00:00:00Z", "start_date": "2026-03-01"},
        {"title": "e", "priority": "low", "due_date": None, "status": "in_progress"},
    )

    @pytest.mark.parametrize(
        ("sort", "titles"),
        [
            ("created_at", "bAcDe"),
            ("-created_at", "eDcAb"),
            ("position", "bAcDe"),
            ("-updated_at", "eDcAb"),
            ("title", "AbcDe"),
            ("-title", "eDcbA"),
            # Tasks without a value come last in both directions, newest first.
            ("due_date", "cbDeA"),
            ("-due_date", "DbceA"),
            ("start_date", "DecAb"),
            ("-completed_at", "beDcA"),
            ("priority", "ebcDA"),
            ("-priority", "DAceb"),
            ("status", "DAebc"),
            ("priority,due_date", "becDA"),
            ("-priority,title", "ADcbe"),
            ("due_date,-title", "cbDeA"),
            ("priority,-status,title", "becAD"),
        ],
    )
    async def test_tasks_are_sorted_by_each_key_in_turn(self, alice: AsyncClient, sort: str, titles: str) -> None:
        for task in self.TASKS:
            await add_task(alice, **task)

        assert "".join(await found(alice, f"sort={sort}")) == titles
        assert "".join(await found(alice, "&".join(f"sort={key}" for key in sort.split(",")))) == titles
        assert "".join([task["title"] for task in await read_all_pages(alice, f"sort={sort}", limit=1)]) == titles
        assert "".join(await found(alice, f"sort={sort}&skip=2&limit=2")) == titles[2:4]

    async def test_default_sort_order_follows_the_time_filter(
        self, alice: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for day, due in ((1, "2026-03-20"), (2, "2026-03-10"), (3, "2026-03-15")):
            at(monkeypatch, f"2026-03-{day:02}T12:00:00Z")
            await add_task(alice, title=str(day), due_date=due, status="completed")

        assert await found(alice, "") == ["3", "2", "1"]
        assert await found(alice, "due_after=2026-03-01") == ["2", "3", "1"]
        assert await found(alice, "completed_after=2026-03-01") == ["3", "2"]
        assert await found(alice, "due_after=2026-03-01&sort=created_at") == ["1", "2", "3"]


# Task: T-363
class TestSearch:
    async def test_search_results_are_ranked_and_contain_an_excerpt(self, alice: AsyncClient) -> None:
        await add_task(alice, title="Fridge", description="Buy milk & <b>butter</b>")
        await add_task(alice, title="Oat milk")
        await add_task(alice, title="Shop", tags=["Milk"])
        await add_task(alice, title="Bread")

        page = await page_of(alice, "q=milk")

        assert [(task["title"], task["excerpt"]) for task in page["tasks"]] == [
            ("Oat milk", "Oat <mark>milk</mark>"),
            ("Shop", "<mark>Milk</mark>"),
            ("Fridge", "Buy <mark>milk</mark> &amp; &lt;b&gt;butter&lt;/b&gt;"),
        ]
        assert (page["total"], page["total_is_exact"]) == (3, True)
        assert await found(alice, "q=milk&sort=title") == ["Fridge", "Oat milk", "Shop"]
        assert "excerpt" not in (await page_of(alice, ""))["tasks"][0]

    @pytest.mark.parametrize("query", ["q=milk", "q=mil*", "q=milk buy", "q=milk&sort=-title", 'q="buy milk" -soy'])
    async def test_search_results_are_the_same_across_pages(self, alice: AsyncClient, query: str) -> None:
        for number in range(12):
            title, text = ("Buy milk", None) if number % 3 else (f"Task {number}", "Buy milk")
            await add_task(alice, title=title, description=text, tags=["milk"] if number % 2 else [])

        whole = (await page_of(alice, f"{query}&limit=100"))["tasks"]
        parts = await read_all_pages(alice, query, limit=5)

        assert len(whole) == 12
        assert parts == whole


# Task: T-372
class TestCursor:
    @pytest.mark.parametrize(
        "sort", ["", "sort=created_at", "sort=due_date", "sort=-due_date", "sort=-priority,title", "sort=position"]
    )
    async def test_cursor_visits_every_remaining_task_once_while_tasks_are_added_and_deleted(
        self, alice: AsyncClient, sort: str
    ) -> None:
        stay, go = [], []
        for number in range(40):
            fields = {
                "priority": ("low", "medium", "high")[number % 3],
                "due_date": None if number % 4 == 0 else f"2026-03-{number % 5 + 1:02}",
            }
            parent = await add_task(alice, title=f"Parent {number % 7}", **fields)
            children = [await add_task(alice, title=f"Child {n}", parent_id=parent["id"], **fields) for n in range(2)]
            stay += [parent["id"], children[0]["id"]]
            go.append(children[1]["id"])
        seen: list[str] = []
        cursor = ""
        for round_ in itertools.count():
            page = await page_of(alice, f"{sort}&limit=50{cursor}")
            seen += [task["id"] for task in page["tasks"]]
            if not page["next_cursor"]:
                break
            cursor = f"&cursor={page['next_cursor']}"
            await add_task(alice, title="Parent 3", due_date="2026-03-02")
            # Delete a task that was seen, one that was not, and the one that the cursor refers to.
            gone = {*[each for each in go if each in seen][:1], *[each for each in go if each not in seen][:1]}
            for task_id in gone | ({seen[-1]} & set(go)):
                await alice.delete(f"/tasks/{task_id}?permanent=true")
                go.remove(task_id)
            assert round_ < 5

        assert len(seen) == len(set(seen))
        assert set(stay) <= set(seen)
        assert set(go) <= set(seen)

    async def test_page_number_and_size_are_correct_with_a_cursor(self, alice: AsyncClient) -> None:
        for _ in range(5):
            await add_task(alice)

        first = await page_of(alice, "limit=2")
        second = await page_of(alice, f"limit=2&cursor={first['next_cursor']}")
        last = await page_of(alice, f"limit=2&cursor={second['next_cursor']}")

        assert [(page["page"], page["page_size"], page["total"]) for page in (first, second, last)] == [
            (1, 2, 5),
            (2, 2, 5),
            (3, 1, 5),
        ]
        assert last["next_cursor"] is None
        assert (await page_of(alice, "limit=5"))["next_cursor"] is None
        assert (await page_of(alice, f"limit=2&skip=1&cursor={first['next_cursor']}"))["tasks"] == [
            second["tasks"][1],
            last["tasks"][0],
        ]

    async def test_cursor_of_another_query_is_rejected(self, alice: AsyncClient) -> None:
        for _ in range(3):
            await add_task(alice)
        cursor = (await page_of(alice, "limit=1&sort=title&status=pending"))["next_cursor"]

        for query in ("sort=title", "sort=-title&status=pending", "status=pending", "sort=title&status=pending&q=milk"):
            response = await alice.get(f"/tasks?{query}&cursor={cursor}")
            assert problem_of(response) == invalid(("/query/cursor", OTHER_QUERY))

    @pytest.mark.parametrize(
        ("part", "values", "word"),
        [
            (0, [], None),
            (1, ["2026-03-10 09:00:00+00", str(uuid4())], None),
            (-1, ["2026-03-10 09:00:00+00", str(uuid4())], None),
            (0, ["2026-03-10 09:00:00+00"], None),
            (0, ["yesterday", "x"], None),
            (0, ["2026-13-40 09:00:00+00", str(uuid4())], None),
            (0, ["2026-03-10 09:00:00+00", "x"], None),
        ],
    )
    async def test_forged_cursor_is_rejected(
        self, alice: AsyncClient, part: int, values: list[str], word: str | None
    ) -> None:
        for _ in range(2):
            await add_task(alice)
        ours = (await page_of(alice, "limit=1"))["next_cursor"]
        digest = orjson.loads(base64.urlsafe_b64decode(ours + "=="))[0]
        forged = base64.urlsafe_b64encode(orjson.dumps([digest, 1, part, values, word])).decode().rstrip("=")

        response = await alice.get(f"/tasks?cursor={forged}")

        assert problem_of(response) == invalid(("/query/cursor", UNKNOWN_CURSOR))

    async def test_cursor_of_another_user_returns_only_own_tasks(self, alice: AsyncClient, bob: AsyncClient) -> None:
        for client in (alice, bob):
            for _ in range(2):
                await add_task(client)
        cursor = (await page_of(alice, "limit=1"))["next_cursor"]

        page = await page_of(bob, f"cursor={cursor}")

        own = [task["id"] for task in (await page_of(bob))["tasks"]]
        assert {task["id"] for task in page["tasks"]} <= set(own)


# Task: T-371
class TestTotal:
    async def test_total_is_a_lower_bound_if_many_tasks_match(self, alice: AsyncClient) -> None:
        for _ in range(4):
            operations = [{"op": "create", "task": {"title": "Milk", "tags": ["a"]}} for _ in range(60)]
            response = await alice.post("/tasks/batch", json={"operations": operations})
            assert response.status_code == 200, response.text

        totals = {}
        for query in ("", "category_id=none", "sort=title", "tag=a", "q=milk", "due=none", "due=none&skip=220"):
            page = await page_of(alice, query)
            totals[query] = page["total"], page["total_is_exact"]

        assert totals == {
            "": (240, True),
            "category_id=none": (240, True),
            "sort=title": (240, True),
            "tag=a": (240, True),
            "q=milk": (200, False),
            "due=none": (200, False),
            "due=none&skip=220": (240, False),
        }


# Task: T-371
class TestConditionalList:
    @pytest.mark.parametrize("query", ["", "tag=a", "q=milk", "due=none", "due_before=2026-03-10", "sort=title"])
    async def test_unchanged_list_returns_304(self, alice: AsyncClient, query: str) -> None:
        await add_task(alice, tags=["a"], due_date="2026-03-01")
        first = await alice.get(f"/tasks?{query}")
        tag = {"If-None-Match": first.headers["etag"]}

        unchanged = await alice.get(f"/tasks?{query}", headers=tag)
        await alice.patch("/me", json={"time_zone": "Europe/Berlin"})
        changed = await alice.get(f"/tasks?{query}", headers=tag)

        assert (first.headers["etag"], unchanged.status_code, unchanged.content) == ('"1"', 304, b"")
        assert (changed.status_code, changed.headers["etag"], changed.json()) == (200, '"2"', first.json())

    @pytest.mark.parametrize("due", ["today", "overdue", "upcoming", "week"])
    async def test_lists_that_depend_on_the_current_time_have_no_etag(self, alice: AsyncClient, due: str) -> None:
        await add_task(alice)

        for condition in ('"1"', "*"):
            response = await alice.get(f"/tasks?due={due}", headers={"If-None-Match": condition})
            assert (response.status_code, "etag" in response.headers) == (200, False)


# Task: T-371
async def test_lists_contain_complete_tasks(alice: AsyncClient) -> None:
    task = await add_task(alice, tags=["a"], due_date="2026-03-10", priority="high")

    for query in ("", "tag=a", "due_before=2027-01-01", "sort=due_date", "sort=priority", "not_tag=b"):
        assert await page_of(alice, query) == {
            "tasks": [task],
            "total": 1,
            "total_is_exact": True,
            "page": 1,
            "page_size": 1,
            "next_cursor": None,
        }
    [searched] = (await page_of(alice, "q=milk"))["tasks"]
    assert searched == {**task, "excerpt": "Buy <mark>milk</mark>"}
    assert instant(task["created_at"]) <= datetime.now(UTC)
