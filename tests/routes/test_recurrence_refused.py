"""Invalid recurrence rules over HTTP: a clear 422 response at once, nothing stored, and never a 500."""

import random
import time
from typing import Any

import pytest
from httpx import AsyncClient, Response

from support.series import add_series, change, complete, recurrence, set_time_zone, upcoming
from support.subtrees import read
from support.tasks import add_task, invalid, problem_of, tasks_of

# CPU seconds that one request with any rule may take; other requests share the processor.
MAX_CPU_SECONDS = 0.05
ENOUGH_SECONDS = 5

# Invalid rules, each with a part of the message.
RULES: list[tuple[str, str]] = [
    ("", "as in FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH"),
    ("every day", "A rule is made of"),
    ("INTERVAL=7", "A rule needs FREQ"),
    ("FREQ=", "FREQ"),
    ("FREQ=FORTNIGHTLY", "FREQ"),
    ("FREQ=SECONDLY", "a task is due once a day at most"),
    ("FREQ=MINUTELY", "a task is due once a day at most"),
    ("FREQ=HOURLY;INTERVAL=24", "a task is due once a day at most"),
    ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
    ("FREQ=DAILY;INTERVAL=-1", "INTERVAL"),
    ("FREQ=DAILY;INTERVAL=1.5", "INTERVAL"),
    ("FREQ=DAILY;INTERVAL=999999999999", "INTERVAL"),
    ("FREQ=DAILY;COUNT=0", "COUNT"),
    ("FREQ=DAILY;COUNT=-3", "COUNT"),
    ("FREQ=DAILY;COUNT=1000000000", "COUNT"),
    ("FREQ=DAILY;COUNT=3;UNTIL=20301231", "COUNT and UNTIL exclude each other"),
    ("FREQ=DAILY;UNTIL=20260230", "UNTIL"),
    ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL"),
    ("FREQ=DAILY;COUNT=3;COUNT=4", "COUNT is given twice"),
    ("FREQ=WEEKLY;BYDAY=XX", "BYDAY"),
    ("FREQ=WEEKLY;BYDAY=2MO", "BYDAY"),
    ("FREQ=MONTHLY;BYDAY=6MO", "never"),
    ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY"),
    ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY"),
    ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY"),
    ("FREQ=YEARLY;BYMONTH=13", "BYMONTH"),
    ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS"),
    ("FREQ=WEEKLY;WKST=XX", "WKST"),
    ("FREQ=YEARLY;BYEASTER=0", "BYEASTER is not supported"),
    ("FREQ=YEARLY;BYWEEKNO=1", "BYWEEKNO is not supported"),
    ("FREQ=DAILY;BYHOUR=9", "BYHOUR is not supported"),
    ("RSCALE=GREGORIAN;FREQ=YEARLY;SKIP=FORWARD", "RSCALE is not supported"),
    ("FREQ=DAILY\nRRULE:FREQ=HOURLY", "FREQ"),
    ("FREQ=D\u0130LY", "plain letters"),
    ("FREQ=DAILY;" * 10_000, "at most 500 characters"),
    # Rules that never occur.
    ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "never"),
    ("FREQ=MONTHLY;BYMONTH=2,4;BYMONTHDAY=31", "never"),
    ("FREQ=YEARLY;BYMONTH=2;BYDAY=5MO;BYMONTHDAY=1", "never"),
    ("FREQ=MONTHLY;BYMONTHDAY=1;BYDAY=MO;BYSETPOS=2", "never"),
]

OTHERS: list[tuple[Any, str]] = [
    ("FREQ=DAILY", "/body/recurrence"),
    ([], "/body/recurrence"),
    (1, "/body/recurrence"),
    ({}, "/body/recurrence/rule"),
    ({"rule": None}, "/body/recurrence/rule"),
    ({"rule": 1}, "/body/recurrence/rule"),
    ({"rule": ["FREQ=DAILY"]}, "/body/recurrence/rule"),
    ({"rule": "FREQ=DAILY", "from": "start"}, "/body/recurrence/from"),
    ({"rule": "FREQ=DAILY", "counted_from": "due"}, "/body/recurrence/counted_from"),
    ({"rule": "FREQ=DAILY", "month_end": None}, "/body/recurrence/month_end"),
    ({"rule": "FREQ=DAILY", "missed": "both"}, "/body/recurrence/missed"),
    ({"rule": "FREQ=DAILY", "colour": "red"}, "/body/recurrence/colour"),
]


async def send_by_all_methods(client: AsyncClient, value: Any, **fields: Any) -> list[Response]:
    """Send an invalid recurrence by POST, PATCH and PUT; assert that nothing changed, and return the responses."""
    task = await add_task(client, due_date="2026-03-10")
    body = {"due_date": "2026-03-10", **fields, "recurrence": value}
    answers = [
        await client.post("/tasks", json={"title": "Buy milk", **body}),
        await client.patch(f"/tasks/{task['id']}", json=body),
        await client.put(f"/tasks/{task['id']}", json={"title": "Buy bread", **body}),
    ]
    assert await tasks_of(client) == [task]
    return answers


# Task: T-325
class TestInvalidRules:
    @pytest.mark.parametrize(("rule", "told"), RULES, ids=[rule[:60] for rule, _ in RULES])
    async def test_invalid_rule_is_rejected_with_a_message_that_names_the_reason(
        self, alice: AsyncClient, rule: str, told: str
    ) -> None:
        begun = time.process_time()

        answers = await send_by_all_methods(alice, {"rule": rule})

        assert time.process_time() - begun < ENOUGH_SECONDS
        for answer in answers:
            [error] = problem_of(answer)["errors"]
            assert (answer.status_code, error["pointer"]) == (422, "/body/recurrence/rule")
            assert told in error["detail"]
            assert not rule or rule not in error["detail"]

    @pytest.mark.parametrize(("value", "pointer"), OTHERS)
    async def test_invalid_recurrence_object_is_rejected(self, alice: AsyncClient, value: Any, pointer: str) -> None:
        for answer in await send_by_all_methods(alice, value):
            assert answer.status_code == 422
            assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]

    @pytest.mark.parametrize(
        ("rule", "due_date", "fitting"),
        [
            ("FREQ=WEEKLY;BYDAY=MO", "2026-03-11", "2026-03-16"),
            ("FREQ=MONTHLY;BYMONTHDAY=31", "2026-04-01T09:00:00", "2026-04-30T09:00:00"),
            ("FREQ=MONTHLY;BYDAY=-1FR", "2026-03-10T09:00:00Z", "2026-03-27T09:00:00Z"),
            ("FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24", "2026-12-25", "2027-12-24"),
        ],
    )
    async def test_due_date_that_does_not_match_the_rule_is_rejected_with_the_next_match(
        self, alice: AsyncClient, rule: str, due_date: str, fitting: str
    ) -> None:
        answers = await send_by_all_methods(alice, {"rule": rule}, due_date=due_date)

        expected = f"The rule does not produce this date. The next one that it does: {fitting}."
        problem = invalid(("/body/due_date", expected))
        assert [problem_of(answer) for answer in answers] == [problem] * 3
        assert (await add_series(alice, rule, fitting))["due_date"] == fitting

    @pytest.mark.parametrize(
        ("rule", "due_date"),
        [("FREQ=DAILY;UNTIL=20260309", "2026-03-11"), ("FREQ=YEARLY;UNTIL=20260311T090000Z", "2026-03-11T09:00:01Z")],
    )
    async def test_rule_that_ends_before_the_due_date_is_rejected(
        self, alice: AsyncClient, rule: str, due_date: str
    ) -> None:
        detail = "The rule produces no date from the due date on. Choose another rule or date."

        answers = await send_by_all_methods(alice, {"rule": rule}, due_date=due_date)

        assert [problem_of(answer) for answer in answers] == [invalid(("/body/recurrence", detail))] * 3

    async def test_recurrence_without_a_due_date_is_rejected(self, alice: AsyncClient) -> None:
        detail = "A recurring task needs a due date. Send one, or null as the recurrence."

        answers = await send_by_all_methods(alice, {"rule": "FREQ=DAILY"}, due_date=None)

        assert [problem_of(answer) for answer in answers] == [invalid(("/body/due_date", detail))] * 3


# Task: T-325
class TestValidRules:
    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            ("FREQ=MONTHLY;INTERVAL=1", "FREQ=MONTHLY;INTERVAL=1"),
            ("rrule:freq=daily", "FREQ=DAILY"),
            (" FREQ=WEEKLY;WKST=SU;BYDAY=TU,TH;INTERVAL=2 ", "FREQ=WEEKLY;WKST=SU;BYDAY=TU,TH;INTERVAL=2"),
        ],
    )
    async def test_rule_is_returned_as_it_was_sent(self, alice: AsyncClient, sent: str, kept: str) -> None:
        task = await add_task(alice, due_date="2026-03-10", recurrence={"rule": sent})

        assert task["recurrence"] == recurrence(kept)

    async def test_equivalent_rule_keeps_the_anchor(self, alice: AsyncClient) -> None:
        """The anchor is the 31st. Sending an equivalent rule does not change it."""
        task = await add_series(alice, "FREQ=MONTHLY", "2026-01-31", options={"missed": "keep"})
        await complete(alice, task)

        await change(alice, task, recurrence=recurrence("FREQ=MONTHLY;INTERVAL=1", missed="keep"))

        assert (await complete(alice, task))["due_date"] == "2026-03-31"

    @pytest.mark.parametrize(
        ("rule", "due_date"),
        [
            ("FREQ=DAILY;INTERVAL=1000;BYMONTH=2;BYMONTHDAY=29;COUNT=1000", "2000-02-29"),
            ("FREQ=DAILY;INTERVAL=997;BYDAY=MO;BYMONTHDAY=29;BYMONTH=2", "2016-02-29"),
            ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=-1;COUNT=1000", "0001-01-31"),
            ("FREQ=YEARLY;INTERVAL=999;COUNT=1000", "0004-02-29"),
            ("FREQ=DAILY;COUNT=1000", "0001-01-01T00:00:00"),
        ],
    )
    async def test_worst_case_rules_are_processed_in_bounded_cpu_time(
        self, alice: AsyncClient, rule: str, due_date: str
    ) -> None:
        await set_time_zone(alice, "Pacific/Kiritimati")
        task = await add_task(alice, due_date=due_date)
        spent = []
        for method, path, body in (
            ("PATCH", "", {"recurrence": {"rule": rule}}),
            ("GET", "/occurrences?limit=100", None),
            ("POST", "/complete", None),
            ("POST", "/skip", None),
        ):
            begun = time.process_time()
            answer = await alice.request(method, f"/tasks/{task['id']}{path}", json=body)
            spent.append(time.process_time() - begun)
            assert answer.status_code in (200, 409, 422)

        # A multiple: a busy machine is to pass, and what walks through centuries is not.
        assert max(spent) < 10 * MAX_CPU_SECONDS
        assert max(spent) < 10 * MAX_CPU_SECONDS


WORDS = [
    *("FREQ=", "DAILY", "WEEKLY", "MONTHLY", "YEARLY", "HOURLY", ";", "INTERVAL=", "BYDAY=", "BYMONTH=", "BYMONTHDAY="),
    *("BYSETPOS=", "COUNT=", "UNTIL=", "WKST=", "MO", "-1SU", "2TU", "1", "-1", "0", "31", "29", "12", "2", "366"),
    *("1000", "99991231", "00010101", "99991231T235959Z", ",", "=", "-", "+", "RRULE:"),
]
DATES = [
    *("2026-01-31", "2024-02-29", "0001-01-01", "9999-12-31", "0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-03-29T02:30:00", "2026-11-01T05:30:00Z"),
]
ZONES = [None, "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Etc/GMT+12", "Pacific/Apia"]
FITTING = [
    "FREQ=DAILY",
    "FREQ=DAILY;INTERVAL=1000",
    "FREQ=WEEKLY;INTERVAL=52",
    "FREQ=MONTHLY",
    "FREQ=MONTHLY;INTERVAL=1000;COUNT=1000",
    "FREQ=YEARLY;UNTIL=99991231T235959Z",
]


# Task: T-325
@pytest.mark.slow
class TestRandomRules:
    @pytest.mark.parametrize("seed", range(4))
    async def test_random_rules_never_cause_a_server_error(self, alice: AsyncClient, seed: int) -> None:
        """Combine fragments of rules, dates at the limits and at clock changes, and time zones with extreme offsets."""
        chance = random.Random(seed)
        statuses = set()
        for _ in range(60):
            words = "".join(chance.choices(WORDS, k=chance.randrange(1, 12)))
            rule = chance.choice([words, f"FREQ={chance.choice(WORDS[1:5])};{words}", chance.choice(FITTING)])
            options = {
                "from": chance.choice(["due", "completion"]),
                "month_end": chance.choice(["clamp", "skip"]),
                "missed": chance.choice(["skip", "keep"]),
            }
            dates = {name: chance.choice(DATES) for name in ("due_date", "start_date")}
            zone = {"due_time_zone": chance.choice(ZONES)}
            task = await add_task(alice, **dates, **zone)
            at = chance.choice(["0001-01-01T00:00:00Z", "0001-01-02T12:00:00Z", "2026-03-29T01:15:00Z"])
            answers = [
                await alice.post(
                    "/tasks", json={"title": "a", **dates, **zone, "recurrence": {"rule": rule, **options}}
                ),
                await alice.patch(f"/tasks/{task['id']}", json={"recurrence": {"rule": rule, **options}}),
                await alice.get(f"/tasks/{task['id']}/occurrences?limit=20"),
                await alice.post(f"/tasks/{task['id']}/skip"),
                await alice.post(f"/tasks/{task['id']}/complete", json={"completed_at": at}),
                await alice.patch(
                    f"/tasks/{task['id']}", json={"due_date": chance.choice(DATES), "scope": "occurrence"}
                ),
                await alice.post(f"/tasks/{task['id']}/complete"),
                await alice.patch(f"/tasks/{task['id']}", json={"due_date": chance.choice(DATES)}),
                await alice.get(f"/tasks/{task['id']}/occurrences?limit=20"),
            ]
            statuses |= {answer.status_code for answer in answers}
            assert (await read(alice, task))["due_date"] is not None

        assert statuses == {200, 201, 409, 422}
        assert (await upcoming(alice, await add_series(alice, "FREQ=DAILY", "2026-03-10")))[0]["due_date"]
