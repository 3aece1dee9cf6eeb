"""Recurrence compared with two independent expansions: python-dateutil, and a check of every single day."""

from calendar import isleap, monthrange
from collections import defaultdict
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from itertools import islice, pairwise, takewhile
from time import process_time
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from support.recurrence_rules import expanded_by_peer, rule_texts
from todo.kit.recurrence import (
    LocalDue,
    Recurrence,
    Rule,
    State,
    advance,
    first_match,
    occurrences,
    parse_rule,
    skip_occurrence,
    upcoming,
)
from todo.kit.recurrence.expansion import Expansion

often = settings(max_examples=800, deadline=None)
quickly = settings(max_examples=250, deadline=None)

# Edge cases: leap days, month ends and the days around New Year.
days = st.one_of(
    st.dates(date(1890, 1, 1), date(2110, 12, 31)),
    st.sampled_from([date(2024, 2, 29), date(2096, 2, 29), date(2026, 1, 31), date(2023, 12, 31), date(2025, 8, 30)]),
)
dues: st.SearchStrategy[LocalDue] = st.one_of(days, st.builds(datetime.combine, days, st.times()))
ordinals = st.integers(1, date.max.toordinal())
month_ends = st.sampled_from(["clamp", "skip"])
recurrences = st.builds(
    Recurrence,
    st.one_of(
        rule_texts(), st.builds("{};COUNT={}".format, rule_texts(), st.integers(1, 40)), rule_texts(most_interval=1_000)
    ).map(parse_rule),
    counted_from=st.sampled_from(["due", "completion"]),
    month_end=month_ends,
    missed=st.sampled_from(["skip", "keep"]),
)


def occurrences_until(last: date, how: Recurrence, anchor: date) -> list[date]:
    return [due for _, due in takewhile(lambda found: found[1] <= last, occurrences(how, anchor))]


def day_by_day(rule: Rule, anchor: date, last: date, *, clamp: bool) -> list[date]:
    """Test every day against the rule, then select positions within each period."""
    periods: dict[int, list[date]] = defaultdict(list)
    day = date(anchor.year, 1, 1) - timedelta(7)
    while day <= last + timedelta(370):
        if matches_rule(rule, anchor, day, clamp=clamp):
            periods[period_of(rule, day) - period_of(rule, anchor)].append(day)
        day += timedelta(1)
    meant = [
        day
        for number, named in periods.items()
        if number % rule.interval == 0
        for place, day in enumerate(named)
        if not rule.positions or {place + 1, place - len(named)} & set(rule.positions)
    ]
    return sorted(day for day in meant if anchor <= day <= last)


def period_of(rule: Rule, day: date) -> int:
    return {
        "DAILY": day.toordinal(),
        "WEEKLY": (day.toordinal() - 1 - rule.week_start) // 7,
        "MONTHLY": day.year * 12 + day.month,
        "YEARLY": day.year,
    }[rule.frequency]


def matches_rule(rule: Rule, anchor: date, day: date, *, clamp: bool) -> bool:
    months, month_days, weekdays = list(rule.months), list(rule.month_days), list(rule.weekdays)
    if not month_days and not weekdays:
        if rule.frequency == "YEARLY" and not months:
            months = [anchor.month]
        if rule.frequency in {"MONTHLY", "YEARLY"}:
            month_days = [anchor.day]
        if rule.frequency == "WEEKLY" and day.weekday() != anchor.weekday():
            return False
    last = monthrange(day.year, day.month)[1]
    fits = {day.day, day.day - last - 1} | (set(range(last + 1, 32)) if clamp and day.day == last else set())
    if (months and day.month not in months) or (month_days and not fits & set(month_days)):
        return False
    if rule.frequency == "YEARLY" and not rule.months:
        place, length = day.timetuple().tm_yday, 365 + isleap(day.year)
    else:
        place, length = day.day, last
    ordinals = {0, (place - 1) // 7 + 1, -((length - place) // 7 + 1)}
    return not weekdays or any(ordinal in ordinals and weekday == day.weekday() for ordinal, weekday in weekdays)


def with_time_of(like: LocalDue, day: date) -> LocalDue:
    return datetime.combine(day, like.time()) if isinstance(like, datetime) else day


def is_past(due: LocalDue, *others: LocalDue) -> bool:
    return all(due > other for other in others)


# Task: T-324
@pytest.mark.slow
class TestReferenceImplementations:
    @often
    @given(rule_texts(), days)
    @example("FREQ=MONTHLY;BYMONTHDAY=31", date(2022, 1, 31))
    @example("FREQ=YEARLY", date(2096, 2, 29))
    @example("FREQ=YEARLY;BYDAY=53MO", date(2024, 12, 30))
    @example("FREQ=YEARLY;BYDAY=-53WE", date(2020, 1, 1))
    @example("FREQ=YEARLY;BYMONTHDAY=13,14,15;BYDAY=20MO", date(2024, 1, 1))
    @example("FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=366", date(2024, 12, 31))
    @example("FREQ=WEEKLY;INTERVAL=2;BYDAY=SA,SU,MO;BYMONTH=12;BYSETPOS=2;WKST=SA", date(2022, 12, 4))
    @example("FREQ=DAILY;INTERVAL=2;BYMONTHDAY=31;BYDAY=MO,FR", date(2025, 10, 31))
    def test_expansion_equals_that_of_dateutil_if_short_months_are_skipped(self, text: str, anchor: date) -> None:
        rule, last = parse_rule(text), anchor + timedelta(1_500)

        found = occurrences_until(last, Recurrence(rule, month_end="skip"), anchor)

        assert found == expanded_by_peer(rule, anchor, last)

    @often
    @given(rule_texts(), days, st.booleans())
    @example("FREQ=MONTHLY", date(2026, 1, 31), True)  # noqa: FBT003
    @example("FREQ=YEARLY", date(2024, 2, 29), True)  # noqa: FBT003
    @example("FREQ=YEARLY;BYMONTHDAY=31", date(2024, 2, 29), True)  # noqa: FBT003
    @example("FREQ=DAILY;INTERVAL=3;BYMONTHDAY=30,31", date(2024, 2, 29), True)  # noqa: FBT003
    @example("FREQ=MONTHLY;BYMONTHDAY=30,31;BYSETPOS=2", date(2026, 1, 31), True)  # noqa: FBT003
    def test_expansion_equals_a_check_of_every_day(self, text: str, anchor: date, clamp: bool) -> None:  # noqa: FBT001
        rule, last = parse_rule(text), anchor + timedelta(500)

        found = occurrences_until(last, Recurrence(rule, month_end="clamp" if clamp else "skip"), anchor)

        assert found == day_by_day(rule, anchor, last, clamp=clamp)


# Task: T-324
class TestSeriesProperties:
    @quickly
    @given(recurrences, dues)
    def test_occurrences_strictly_ascend_and_are_numbered_from_one(self, how: Recurrence, anchor: LocalDue) -> None:
        found = list(islice(occurrences(how, anchor), 50))

        found_dues = [due for _, due in found]
        assert [number for number, _ in found] == list(range(1, len(found) + 1))
        assert all(one < other for one, other in pairwise(found_dues))
        assert all(type(due) is type(anchor) for due in found_dues)
        assert len(found) <= (how.rule.count or 50)

    @quickly
    @given(recurrences, dues, st.integers(1, 60))
    def test_occurrences_are_the_same_from_the_anchor_and_from_any_later_start(
        self, how: Recurrence, anchor: LocalDue, place: int
    ) -> None:
        walked = list(islice(occurrences(how, anchor), place + 20))
        assume(len(walked) > place)
        number, after = walked[place - 1]

        jumped = list(islice(occurrences(how, anchor, after=after, number=number), len(walked) - place))

        assert jumped == walked[place:]

    @quickly
    @given(recurrences, dues)
    def test_first_match_fits_the_rule_and_is_the_first_occurrence(self, how: Recurrence, due: LocalDue) -> None:
        fit = first_match(how, due)
        assume(fit is not None)
        assert fit is not None

        assert fit >= due
        assert first_match(how, fit) == fit
        assert next(occurrences(how, fit)) == (1, fit)

    @quickly
    @given(recurrences, dues, st.integers(1, 40), st.integers(-30, 900), st.times())
    def test_completion_advances_to_the_first_occurrence_that_is_not_past(
        self, how: Recurrence, due: LocalDue, place: int, late: int, at: time
    ) -> None:
        first = first_match(how, due)
        assume(first is not None)
        assert first is not None
        number, current = list(islice(occurrences(how, first), place))[-1]
        assume(current.year < 9990)
        today = date.fromordinal(current.toordinal() + late)
        now = datetime.combine(today, at)

        after = advance(how, State(first, number, current), completed=now, today=today)

        if how.counted_from == "completion":
            anchor = with_time_of(first, today)
            endless = replace(how, rule=replace(how.rule, count=None))
            expected = next(
                (later for _, later in occurrences(endless, anchor) if is_past(later, anchor, current)), None
            )
            over = number == how.rule.count
            assert after == (None if over or expected is None else State(anchor, number + 1, expected))
            return
        reached = [current] if how.missed == "keep" else [current, now if isinstance(first, datetime) else today]
        found = next(((n, later) for n, later in occurrences(how, first) if is_past(later, *reached)), None)
        if found is None:
            assert after is None
        else:
            assert after == State(first, number + 1 if how.rule.count is None else found[0], found[1])

    @quickly
    @given(recurrences, dues)
    def test_upcoming_occurrences_equal_repeated_skips(self, how: Recurrence, due: LocalDue) -> None:
        first = first_match(how, due)
        assume(first is not None)
        assert first is not None
        state = State(first, 1, first)
        # Skipped occurrences do not use up COUNT if the series counts from completion.
        how = replace(how, rule=replace(how.rule, count=None)) if how.counted_from == "completion" else how

        previewed = [later for _, later in islice(upcoming(how, state), 5)]

        skipped: list[LocalDue] = []
        following = skip_occurrence(how, state)
        while following is not None and len(skipped) < 5:
            skipped.append(following.due)
            following = skip_occurrence(how, following)
        # A series that counts from completion does not remember the day from which it was clamped.
        assume(how.counted_from == "due" or first.day <= 28)
        assert previewed == skipped


# Task: T-323
class TestExpansionCount:
    @quickly
    @given(
        st.one_of(rule_texts(), rule_texts(most_interval=1_000)),
        st.builds(date.fromordinal, ordinals),
        ordinals,
        st.one_of(st.integers(-10, 1_500), st.integers(0, 300_000)),
        st.booleans(),
    )
    @example("FREQ=WEEKLY;BYMONTH=1,12;BYDAY=SA,SU,MO,TU;BYSETPOS=-1", date(1, 1, 1), 1, 300_000, False)  # noqa: FBT003
    @example("FREQ=WEEKLY;INTERVAL=3;BYMONTH=1;BYDAY=SA,TU;WKST=SA", date(9, 1, 3), 3_300_000, 300_000, False)  # noqa: FBT003
    @example("FREQ=DAILY;INTERVAL=6;BYMONTHDAY=30,31", date(2026, 1, 1), 740_000, 300_000, True)  # noqa: FBT003
    def test_count_equals_the_number_of_days_that_iteration_yields(
        self,
        text: str,
        anchor: date,
        since: int,
        span: int,
        clamp: bool,  # noqa: FBT001
    ) -> None:
        until = min(since + span, date.max.toordinal())
        expansion = Expansion(parse_rule(text), anchor, clamp=clamp)

        counted = expansion.count(since, until)

        assert counted == sum(1 for _ in takewhile(lambda day: day < until, expansion.days(since)))

    @quickly
    @given(rule_texts(), st.integers(1, 1_000), month_ends, dues, st.integers(0, 40), st.integers(0, 900_000))
    def test_missed_centuries_use_up_count_as_if_every_day_was_iterated(
        self, text: str, most: int, month_end: Any, due: LocalDue, place: int, late: int
    ) -> None:
        how = Recurrence(parse_rule(f"{text};COUNT={most}"), month_end=month_end)
        first = first_match(how, due)
        assume(first is not None)
        assert first is not None
        walked = list(occurrences(how, first))
        number, current = walked[min(place, len(walked) - 1)]
        today = date.fromordinal(current.toordinal() + late)
        now = datetime.combine(today, time(12))

        after = advance(how, State(first, number, current), completed=now, today=today)
        moved = skip_occurrence(how, State(first, number, with_time_of(first, today), nominal=current))

        reached = now if isinstance(first, datetime) else today
        assert after == next((State(first, *found) for found in walked if is_past(found[1], current, reached)), None)
        assert moved == next(
            (State(first, *found) for found in walked if is_past(found[1], current, with_time_of(first, today))), None
        )


# Seconds. Ten times the budget of a request, because coverage traces every line.
MAX_SECONDS = 0.5


# Task: T-324
class TestExpansionCost:
    @pytest.mark.parametrize(
        ("text", "due"),
        [
            ("FREQ=DAILY;INTERVAL=997;BYMONTH=2;BYMONTHDAY=29;BYDAY=TH", date(2024, 2, 29)),
            ("FREQ=DAILY;INTERVAL=7;BYDAY=MO", date(2024, 2, 29)),
            ("FREQ=DAILY;INTERVAL=365;BYMONTH=3", date(2026, 3, 31)),
            ("FREQ=DAILY;INTERVAL=2;BYMONTH=2;COUNT=1000", date(1, 2, 1)),
            ("FREQ=WEEKLY;INTERVAL=313;BYMONTH=2", date(2026, 2, 1)),
            ("FREQ=WEEKLY;BYMONTH=2;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=7;COUNT=1000", date(1, 2, 4)),
            ("FREQ=MONTHLY;INTERVAL=5;BYMONTH=2;BYMONTHDAY=29;BYDAY=TH", date(2024, 2, 29)),
            ("FREQ=MONTHLY;BYMONTHDAY=29;BYMONTH=2;COUNT=1000", date(4, 2, 29)),
            ("FREQ=MONTHLY;BYMONTH=2", date(2026, 1, 30)),
            ("FREQ=YEARLY;BYDAY=53MO,-53TU;BYMONTHDAY=" + ",".join(map(str, range(1, 32))), date(2024, 12, 30)),
        ],
    )
    def test_worst_case_rules_are_expanded_in_bounded_cpu_time(self, text: str, due: date) -> None:
        begun = process_time()

        how = Recurrence(parse_rule(text), month_end="skip")
        first = first_match(how, due) or due
        state = State(first, 1, first)
        advance(how, state, completed=datetime.combine(date(2500, 1, 1), time.min), today=date(2500, 1, 1))
        list(islice(upcoming(how, state), 100))

        assert process_time() - begun < MAX_SECONDS

    def test_impossible_rules_are_rejected_in_bounded_cpu_time(self) -> None:
        begun = process_time()

        for text in (
            "FREQ=MONTHLY;BYMONTHDAY=31;BYDAY=1MO,2TU,3WE,4TH,-4FR",
            "FREQ=YEARLY;BYMONTHDAY=31;BYDAY=1MO,20MO,-2TU;BYSETPOS=366",
            "FREQ=DAILY;INTERVAL=" + "9" * 400,
        ):
            with pytest.raises(ValueError, match=r"never occurs|whole number"):
                parse_rule(text)

        assert process_time() - begun < MAX_SECONDS
