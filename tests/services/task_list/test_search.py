"""Search below HTTP: matches, order and isolation. The oracle reads every task."""

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from support.round_trips import watched
from support.users import sign_up
from todo.database import Database, Session
from todo.kit.queries import Query, normalize_for_search, parse
from todo.models.task_list import MAX_TASKS, TaskQuery
from todo.services.task_list import page as task_list
from todo.services.task_list import search

START = datetime(2026, 3, 1, tzinfo=UTC)
WORDS = ("milk", "milkshake", "oat", "Käse", "drink", "soy", "choc", "chocolate", "buy")
ADD = (
    "INSERT INTO tasks (user_id, id, title, description, tags, status, priority, created_at, updated_at,"
    " creation_digest, revision) VALUES (%s, %s, %s, %s, %s, 'pending', 'low', %s, %s, '', 0)"
)


@dataclass
class ServiceHarness:
    """The tasks of one user, in the database and in memory."""

    database: Database
    url: str
    user_id: str
    tasks: dict[str, tuple[str, list[str], str | None]] = field(default_factory=dict)

    def add(self, *tasks: tuple[str, list[str], str | None]) -> list[str]:
        """Create tasks of title, tags and description, one minute apart. Returns their ids."""
        ids = [str(uuid.uuid4()) for _ in tasks]
        with psycopg.connect(self.url) as connection:
            for task_id, (title, tags, description) in zip(ids, tasks, strict=True):
                created_at = START + timedelta(minutes=len(self.tasks))
                connection.execute(
                    ADD, (self.user_id, task_id, title, description, Jsonb(tags), created_at, created_at)
                )
                self.tasks[task_id] = title, tags, description
        return ids

    async def find(self, typed: str, *, limit: int = MAX_TASKS) -> list[str]:
        """Return the ids that the search finds, in order."""
        return [task["id"] for task in (await self.page(typed, limit=limit)).tasks]

    async def page(self, typed: str, *, limit: int = MAX_TASKS, cursor: str | None = None) -> task_list.Page:
        """Return a page of the tasks that the search finds."""
        query = TaskQuery(q=typed, limit=limit, cursor=cursor)
        return await task_list.page(Session(self.database, self.user_id), query, now=START)

    def expected_ids(self, typed: str) -> set[str]:
        """Return the ids that a scan of all tasks finds."""
        query = parse(typed)
        return {task_id for task_id, (title, tags, text) in self.tasks.items() if _fits(query, [title, *tags, text])}


def _fits(query: Query, texts: list[str | None]) -> bool:
    fold_case = "|".join(f" {' '.join(normalize_for_search(text or '').split())} " for text in texts)

    def tests(words: tuple[str, ...], prefixes: tuple[str, ...], phrases: tuple[str, ...]) -> Iterator[bool]:
        yield from (f" {word} " in fold_case for word in words)
        yield from (f" {prefix}" in fold_case for prefix in prefixes)
        yield from (phrase in fold_case for phrase in phrases)

    wanted, unwanted = query.required, query.excluded
    return all(tests(wanted.words, wanted.prefixes, wanted.phrases)) and not any(
        tests(unwanted.words, unwanted.prefixes, unwanted.phrases)
    )


@pytest.fixture
def scene(database: Database, database_url: str) -> ServiceHarness:
    return ServiceHarness(database, database_url, sign_up(database_url, "alice"))


@pytest.fixture(params=[2_000, 3])
def row_limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set how many rows count as few: more than any test has, or 3."""
    monkeypatch.setattr(search, "_FEW", request.param)
    makers = (search.fragments, search._ranked, task_list._statements)
    for maker in makers:
        maker.cache_clear()
    yield
    for maker in makers:
        maker.cache_clear()


# Task: T-363
class TestMatching:
    @pytest.mark.parametrize(
        ("typed", "found"),
        [
            ("milk", [1, 0]),
            ("mil*", [2, 1, 0]),
            ("MILK oat", [0]),
            ('"oat milk"', [0]),
            ('"milk oat"', []),
            ('"oat mil*"', [0]),
            ("milk -oat", [1]),
            ("mil* -milks*", [1, 0]),
            ('milk -"oat milk"', [1]),
            ("kase", [3]),
            ("Käse", [3]),
            ("shop home", [3]),
            ('"shop home"', []),
            ("買い", [4]),
            ("物買", []),
            ("e-mail", [4]),
            ("nothing", []),
            ("milk nothing", []),
            ("milk %", [1, 0]),
        ],
    )
    @pytest.mark.usefixtures("row_limit")
    async def test_search_returns_the_matching_tasks(self, scene: ServiceHarness, typed: str, found: list[int]) -> None:
        ids = scene.add(
            ("Oat milk", [], None),
            ("Milk", [], "Two litres"),
            ("Milkshakes", [], None),
            ("Fridge", ["shop", "home"], "KÄSE"),
            ("買い物", [], "Send an e-mail, 100%"),
        )

        assert await scene.find(typed) == [ids[index] for index in found]

    @pytest.mark.usefixtures("row_limit")
    async def test_search_returns_the_same_tasks_as_a_scan_of_all_tasks(self, scene: ServiceHarness) -> None:
        rng = random.Random(7)

        def text(most: int) -> str:
            return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))

        scene.add(
            *((text(4), [text(2) for _ in range(rng.randint(0, 2))], rng.choice([None, text(6)])) for _ in range(60))
        )
        kinds: list[Callable[[], str]] = [
            lambda: rng.choice(WORDS),
            lambda: rng.choice(WORDS)[:3] + "*",
            lambda: f'"{text(2)}"',
            lambda: f'"{text(2)[:-1]}*"',
        ]

        for _ in range(150):
            terms = [rng.choice(("", "", "-")) + rng.choice(kinds)() for _ in range(rng.randint(1, 4))]
            typed = " ".join([rng.choice(kinds)(), *terms])
            found = await scene.find(typed)
            assert (typed, sorted(found)) == (typed, sorted(scene.expected_ids(typed)))

    async def test_search_returns_only_the_users_own_tasks(
        self, scene: ServiceHarness, database: Database, database_url: str
    ) -> None:
        scene.add(("Milk", [], None))
        bob = ServiceHarness(database, database_url, sign_up(database_url, "bob"))

        assert [await bob.find(typed) for typed in ("milk", "mil*", "milk -oat")] == [[], [], []]

    async def test_search_takes_one_round_trip(self, scene: ServiceHarness, database_url: str) -> None:
        scene.database, trips = watched(database_url)
        await scene.database.open()
        scene.add(("Oat milk", [], None))
        await scene.find("oat")
        trips.count = 0

        found = await scene.find('milk oat* "oat milk" -soy')

        await scene.database.close()
        assert (len(found), trips.count) == (1, 1)


# Task: T-363
class TestRank:
    async def test_matches_in_title_rank_before_tags_and_description_and_newer_before_older(
        self, scene: ServiceHarness
    ) -> None:
        ids = scene.add(
            ("Milk", [], None), ("a", ["milk"], None), ("b", [], "milk"), ("Milk", [], None), ("c", ["milk"], "milk")
        )

        assert await scene.find("milk") == [ids[index] for index in (3, 0, 4, 1, 2)]
        assert await scene.find("milk", limit=2) == [ids[3], ids[0]]

    async def test_results_are_ranked_by_the_rarest_word(self, scene: ServiceHarness) -> None:
        ids = scene.add(
            ("Milk", [], "oat"), ("Oat", [], "milk"), ("Oat milk", [], None), ("Milk", [], None), ("Milk", [], None)
        )

        assert await scene.find("milk oat") == [ids[index] for index in (2, 1, 0)]

    async def test_next_page_is_ranked_by_the_word_chosen_for_the_first_page(self, scene: ServiceHarness) -> None:
        ids = scene.add(("Oat", [], "milk"), ("Milk", [], "oat"), ("Milk", [], None))
        first = await scene.page("milk oat", limit=1)
        scene.add(("Oat", [], None), ("Oat", [], None))

        second = await scene.page("milk oat", cursor=first.next_cursor)

        assert await scene.find("milk oat") == [ids[1], ids[0]]
        assert [[task["id"] for task in page.tasks] for page in (first, second)] == [[ids[0]], [ids[1]]]

    def test_a_word_that_the_query_does_not_have_is_rejected(self) -> None:
        query = parse("milk oat")

        with pytest.raises(ValueError, match=r"is not a word of this search"):
            search.values_of(query, chosen="soy")

    @pytest.mark.usefixtures("row_limit")
    async def test_prefix_matches_are_sorted_newest_first(self, scene: ServiceHarness) -> None:
        ids = scene.add(*((f"{'Milk' if index % 2 else 'Milkshake'} {index}", [], "milk") for index in range(8)))

        assert await scene.find("mil*", limit=5) == ids[:2:-1]


# Task: T-363
class TestExcerpt:
    def test_excerpt_shows_the_matching_field(self) -> None:
        row = {"title": "Shop & go", "tags": ["home", "Milk"], "description": None}

        assert search.excerpt_of(parse("milk"), row) == "home, <mark>Milk</mark>"
        assert search.excerpt_of(parse("sho*"), row) == "<mark>Shop</mark> &amp; go"
