"""Series: a recurrence, its anchor, and the open occurrence.

All times are local: a due date is a date, or a naive wall-clock time to which the caller converts instants. An all-day
date is compared by the day, even with a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Literal, TypeAlias

from todo.kit.recurrence.expansion import Expansion
from todo.kit.recurrence.rules import Rule

LocalDue: TypeAlias = date | datetime


# Task: T-322
@dataclass(frozen=True, slots=True)
class Recurrence:
    """The recurrence of a task.

    ``counted_from``: the rule counts from the due date, or from the day of completion. ``month_end``: if a month lacks
    the day, use its last day, or skip it. ``missed``: skip missed occurrences, or keep them to complete one by one.
    """

    rule: Rule
    counted_from: Literal["due", "completion"] = "due"
    month_end: Literal["clamp", "skip"] = "clamp"
    missed: Literal["skip", "keep"] = "skip"


# Task: T-323
@dataclass(frozen=True, slots=True)
class State:
    """The state of a series: the ``number`` (from 1) and the ``due`` date of the open occurrence.

    ``anchor`` is the due date of the first occurrence, or the one that the series was last moved to. If the open
    occurrence alone was moved to ``due``, ``nominal`` is its date in the sequence; otherwise it is None.
    """

    anchor: LocalDue
    number: int
    due: LocalDue
    nominal: LocalDue | None = None

    @property
    def in_sequence(self) -> LocalDue:
        """The date of the open occurrence in the sequence."""
        return self.due if self.nominal is None else self.nominal


# Task: T-322
def occurrences(
    recurrence: Recurrence, anchor: LocalDue, *, after: LocalDue | None = None, number: int = 0
) -> Iterator[tuple[int, LocalDue]]:
    """Yield number and due date of the occurrences strictly after ``after``, from the anchor on, until the rule ends.

    ``number`` is the number of ``after``, or 0 to start at the anchor. Starts close to ``after`` without iterating from
    the anchor. The time of day is that of the anchor. The anchor is an occurrence only if the rule produces it.
    """
    return _expand(recurrence, anchor, number, after=after, beyond=after)


# Task: T-322
def first_match(recurrence: Recurrence, due: LocalDue) -> LocalDue | None:
    """Return the first date, ``due`` or later, that the rule anchored at ``due`` produces; None if there is none.

    The rule anchored at the result produces the result.
    """
    return next((fit for _, fit in occurrences(recurrence, due)), None)


# Task: T-323
def advance(recurrence: Recurrence, state: State, *, completed: datetime, today: date) -> State | None:
    """Return the series after its open occurrence was completed; None if that was the last one.

    ``completed`` is the naive local time, and ``today`` the user's day at that time. An all-day series, and one counted
    from completion, uses ``today``. The next due date is always after the current one. Skipped occurrences use up
    COUNT; in a series counted from completion, only completions do.
    """
    if recurrence.counted_from == "completion":
        anchor = _at(today, state.anchor)
        return _next(recurrence, anchor, state.number, beyond=_latest(anchor, state.due))
    if recurrence.missed == "keep":
        return skip_occurrence(recurrence, state)
    now = completed if isinstance(state.anchor, datetime) else today
    return _next(recurrence, state.anchor, state.number, after=state.in_sequence, beyond=_latest(now, _reached(state)))


# Task: T-323
def skip_occurrence(recurrence: Recurrence, state: State) -> State | None:
    """Return the series after its open occurrence was skipped; None if that was the last one.

    In a series counted from completion, the next date is counted from the current due date, and COUNT is not used up.
    """
    if recurrence.counted_from == "completion":
        anchor = _at(day_of(state.due), state.anchor)
        return _next(recurrence, anchor, state.number - 1, beyond=state.due)
    return _next(recurrence, state.anchor, state.number, after=state.in_sequence, beyond=_reached(state))


# Task: T-323
def upcoming(recurrence: Recurrence, state: State) -> Iterator[tuple[int, LocalDue]]:
    """Yield number and due date of the occurrences after the open one, if each is completed on its day."""
    if recurrence.counted_from == "completion":
        anchor = _at(day_of(state.due), state.anchor)
        return occurrences(recurrence, anchor, after=state.due, number=state.number)
    return _beyond(recurrence, state.anchor, state.number, after=state.in_sequence, beyond=_reached(state))


# Task: T-323
def shift(start: LocalDue, due_before: LocalDue, due_after: LocalDue) -> LocalDue:
    """Return a start date moved by the difference between two due dates; by whole days if one of the three is a date.

    The result stays within the years 1 to 9999.
    """
    try:
        if isinstance(start, datetime) and isinstance(due_before, datetime) and isinstance(due_after, datetime):
            return start + (due_after - due_before)
        return start + (day_of(due_after) - day_of(due_before))
    except OverflowError:
        limit = date.max if _later(due_after, due_before) else date.min
        return _at(limit, start)


def day_of(due: LocalDue) -> date:
    """Return the day of a due date."""
    return due.date() if isinstance(due, datetime) else due


def _next(
    recurrence: Recurrence, anchor: LocalDue, number: int, *, beyond: LocalDue, after: LocalDue | None = None
) -> State | None:
    """Return the series at its first occurrence strictly after ``beyond``; None if there is none."""
    following = next(_beyond(recurrence, anchor, number, after=beyond if after is None else after, beyond=beyond), None)
    return None if following is None else State(anchor, *following)


def _beyond(
    recurrence: Recurrence, anchor: LocalDue, number: int, *, after: LocalDue, beyond: LocalDue
) -> Iterator[tuple[int, LocalDue]]:
    """Yield number and due date of the occurrences strictly after ``beyond``; ``number`` is the number of ``after``.

    The occurrences between the two are counted only if the rule has COUNT.
    """
    start = beyond if recurrence.rule.count is None else after
    return _expand(recurrence, anchor, number, after=start, beyond=beyond)


def _expand(
    recurrence: Recurrence, anchor: LocalDue, number: int, *, after: LocalDue | None, beyond: LocalDue | None
) -> Iterator[tuple[int, LocalDue]]:
    """Yield the occurrences strictly after ``beyond``, numbered from those strictly after ``after``."""
    rule = recurrence.rule
    expansion = Expansion(rule, day_of(anchor), clamp=recurrence.month_end == "clamp")
    since = until = 0
    if after is not None:
        since = day_of(after).toordinal()
        # The day of ``after`` counts only if the series is due later on that day.
        since += not _later(_at(day_of(after), anchor), after)
    if beyond is not None:
        until = max(since, day_of(beyond).toordinal())
        number += expansion.count(since, until)
    left = None if rule.count is None else max(0, rule.count - number)
    for place, day in enumerate(islice(expansion.days(until), left), number + 1):
        due = _at(date.fromordinal(day), anchor)
        if beyond is not None and not _later(due, beyond):
            continue
        if rule.until is not None and _later(due, _local(rule.until)):
            return
        yield place, due


def _local(until: LocalDue) -> LocalDue:
    return until.replace(tzinfo=None) if isinstance(until, datetime) else until


def _reached(state: State) -> LocalDue:
    return _latest(state.in_sequence, state.due)


def _latest(one: LocalDue, other: LocalDue) -> LocalDue:
    return one if _later(one, other) else other


def _later(one: LocalDue, other: LocalDue) -> bool:
    if isinstance(one, datetime) and isinstance(other, datetime):
        return one > other
    return day_of(one) > day_of(other)


def _at(day: date, like: LocalDue) -> LocalDue:
    return datetime.combine(day, like.time()) if isinstance(like, datetime) else day
