"""A series: a recurrence, its anchor, and the one occurrence that is open.

All is local: a due is a date, or a naive time in the task's zone (in UTC for an instant). What is all day is compared
by the day, also where a time stands on the other side.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Literal, TypeAlias

from todo.kit.recurrence.expansion import Expansion
from todo.kit.recurrence.rules import Rule

Due: TypeAlias = date | datetime


# Task: T-322
@dataclass(frozen=True, slots=True)
class Recurrence:
    """How a task comes back.

    ``counted_from``: its due date, or the day it was completed. ``month_end``: what becomes of a day of the month that
    a month lacks. ``missed``: whether occurrences that passed unnoticed are passed over, or kept to be done one by one.
    """

    rule: Rule
    counted_from: Literal["due", "completion"] = "due"
    month_end: Literal["clamp", "skip"] = "clamp"
    missed: Literal["skip", "keep"] = "skip"


# Task: T-323
@dataclass(frozen=True, slots=True)
class State:
    """Where a series stands: ``number`` is that of the open occurrence, from 1, and ``due`` is when it is due.

    ``anchor`` is the due date of the first occurrence, or the one that the series was last moved to. ``nominal`` is
    the date in the sequence that the open occurrence stands for, where it alone was moved to ``due``; else None.
    """

    anchor: Due
    number: int
    due: Due
    nominal: Due | None = None

    @property
    def in_sequence(self) -> Due:
        """Return the date in the sequence that the open occurrence stands for."""
        return self.due if self.nominal is None else self.nominal


# Task: T-322
def occurrences(
    recurrence: Recurrence, anchor: Due, *, after: Due | None = None, number: int = 0
) -> Iterator[tuple[int, Due]]:
    """Yield number and due of the occurrences strictly after ``after``, from the anchor on, until the rule ends.

    ``number`` is that of ``after``, or 0 to begin at the anchor. Looks near ``after`` at once, however long ago the
    anchor is. The time of day is the anchor's. The anchor itself is an occurrence only if the rule produces it.
    """
    return _expand(recurrence, anchor, number, after=after, beyond=after)


# Task: T-322
def fitting(recurrence: Recurrence, due: Due) -> Due | None:
    """Return the first due date, ``due`` or later, that the rule anchored at ``due`` produces. None: it never does.

    What is returned fits itself.
    """
    return next((fit for _, fit in occurrences(recurrence, due)), None)


# Task: T-323
def advance(recurrence: Recurrence, state: State, *, completed: datetime, today: date) -> State | None:
    """Return the series after its open occurrence was completed, or None if that was the last.

    ``completed`` is the naive local time, ``today`` the user's day then: what is all day, or counted from completion,
    goes by the day. The next due date lies after the current one, always. Occurrences that are passed over use up
    COUNT; counted from completion, only completions do.
    """
    if recurrence.counted_from == "completion":
        anchor = _at(today, state.anchor)
        return _next(recurrence, anchor, state.number, beyond=_latest(anchor, state.due))
    if recurrence.missed == "keep":
        return skip_one(recurrence, state)
    now = completed if isinstance(state.anchor, datetime) else today
    return _next(recurrence, state.anchor, state.number, after=state.in_sequence, beyond=_latest(now, _reached(state)))


# Task: T-323
def skip_one(recurrence: Recurrence, state: State) -> State | None:
    """Return the series with its open occurrence passed over for the next one, or None if that was the last.

    Counted from completion, the next one is counted from the current due date, and COUNT is not used up.
    """
    if recurrence.counted_from == "completion":
        anchor = _at(day_of(state.due), state.anchor)
        return _next(recurrence, anchor, state.number - 1, beyond=state.due)
    return _next(recurrence, state.anchor, state.number, after=state.in_sequence, beyond=_reached(state))


# Task: T-323
def upcoming(recurrence: Recurrence, state: State) -> Iterator[tuple[int, Due]]:
    """Yield number and due of what follows the open occurrence, if each is completed on its day."""
    if recurrence.counted_from == "completion":
        anchor = _at(day_of(state.due), state.anchor)
        return occurrences(recurrence, anchor, after=state.due, number=state.number)
    return _beyond(recurrence, state.anchor, state.number, after=state.in_sequence, beyond=_reached(state))


# Task: T-323
def shift(start: Due, due_before: Due, due_after: Due) -> Due:
    """Move a start by the step that its due date made; by whole days where one of the three is a date.

    Stays within the years 1 to 9999.
    """
    try:
        if isinstance(start, datetime) and isinstance(due_before, datetime) and isinstance(due_after, datetime):
            return start + (due_after - due_before)
        return start + (day_of(due_after) - day_of(due_before))
    except OverflowError:
        limit = date.max if _later(due_after, due_before) else date.min
        return _at(limit, start)


def day_of(due: Due) -> date:
    """Return the day of a due date."""
    return due.date() if isinstance(due, datetime) else due


def _next(recurrence: Recurrence, anchor: Due, number: int, *, beyond: Due, after: Due | None = None) -> State | None:
    """Return the series at its first occurrence strictly after ``beyond``."""
    following = next(_beyond(recurrence, anchor, number, after=beyond if after is None else after, beyond=beyond), None)
    return None if following is None else State(anchor, *following)


def _beyond(recurrence: Recurrence, anchor: Due, number: int, *, after: Due, beyond: Due) -> Iterator[tuple[int, Due]]:
    """Yield number and due of what is strictly after ``beyond``; ``number`` is that of ``after``.

    Only COUNT asks how many lie between the two: without it they are not counted.
    """
    start = beyond if recurrence.rule.count is None else after
    return _expand(recurrence, anchor, number, after=start, beyond=beyond)


def _expand(
    recurrence: Recurrence, anchor: Due, number: int, *, after: Due | None, beyond: Due | None
) -> Iterator[tuple[int, Due]]:
    """Yield what is strictly after ``beyond``, having counted what is strictly after ``after``."""
    rule = recurrence.rule
    expansion = Expansion(rule, day_of(anchor), clamp=recurrence.month_end == "clamp")
    since = until = 0
    if after is not None:
        since = day_of(after).toordinal()
        # The day of ``after`` itself counts only if the series is due later on it.
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


def _local(until: Due) -> Due:
    return until.replace(tzinfo=None) if isinstance(until, datetime) else until


def _reached(state: State) -> Due:
    return _latest(state.in_sequence, state.due)


def _latest(one: Due, other: Due) -> Due:
    return one if _later(one, other) else other


def _later(one: Due, other: Due) -> bool:
    if isinstance(one, datetime) and isinstance(other, datetime):
        return one > other
    return day_of(one) > day_of(other)


def _at(day: date, like: Due) -> Due:
    return datetime.combine(day, like.time()) if isinstance(like, datetime) else day
