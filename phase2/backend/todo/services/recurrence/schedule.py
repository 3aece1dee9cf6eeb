"""The schedule of a series: converts between the columns of its row and the local times that rules use."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any

import orjson

from todo.database import Row
from todo.kit import recurrence as rules
from todo.kit.recurrence import Due, State
from todo.models.recurrence import CountedFrom
from todo.services.recurrence.user_time import UserTime

ONE_DAY = timedelta(days=1)

# Number of precomputed occurrences. The rule is rarely evaluated again, and the row stays small.
_MAX_NEXT_OCCURRENCES = 10


def to_columns(row: Row, task_time: UserTime, state: State | None) -> dict[str, Any] | None:
    """Return the columns of a series that advances to ``state``; ``None`` if the series has ended."""
    if state is None:
        return None
    due_date = task_time.format_due(state.due, template=row["recurrence_due"])
    start_date = next_start(row, due_date, task_time)
    # The anchor stays unchanged: a series that counts from completion takes only its time of day from it.
    columns = {
        "due_date": due_date,
        "start_date": start_date,
        "recurrence_number": state.number,
        "recurrence_due": due_date,
        "recurrence_start": start_date,
    }
    return {**columns, "next_occurrences": next_occurrences({**row, **columns}, task_time)}


# Task: T-327
def next_occurrences(row: Row, task_time: UserTime) -> str | None:
    """Return the column ``next_occurrences``: a JSON list of the open occurrence and the next ones.

    The database takes them one after the other. Each entry is as if the series had advanced to it step by step.
    ``None`` if no next occurrence is known, or if it depends on the day of completion.
    """
    recurrence = to_recurrence(row["recurrence"], task_time)
    if recurrence.counted_from == CountedFrom.completion:
        return None
    is_counted = recurrence.rule.count is not None
    due_texts = (row[name] for name in ("due_date", "recurrence_anchor", "recurrence_due", "recurrence_start"))
    in_zone = (
        [task_time.zone] if depends_on_user_zone(row["due_time_zone"], due_texts, row["recurrence"]["rule"]) else []
    )
    due_before, start_before = row["recurrence_due"], row["recurrence_start"]
    steps = [[row["due_date"]]]
    for number, due in islice(rules.upcoming(recurrence, to_state(row, task_time)), _MAX_NEXT_OCCURRENCES):
        due_text = task_time.format_due(due, template=due_before)
        start = next_start(row, due_text, task_time)
        if due_text == due_before or start != shift_start(start_before, due_before, due_text, task_time):
            # There is a clock change in between. The following dates depend on whether the series stops at this one,
            # so the list ends before it.
            break
        steps.append([due_text, start, number if is_counted else None, *in_zone])
        due_before, start_before = due_text, start
    return orjson.dumps(steps).decode() if len(steps) > 1 else None


def depends_on_user_zone(due_time_zone: str | None, due_texts: Iterable[str | None], rule: str) -> bool:
    """Return whether the dates of a series depend on its owner's zone.

    They do if the task has no zone of its own, and one of its dates or UNTIL is an instant.
    """
    if due_time_zone is not None:
        return False
    until = parse_stored_rule(rule).until
    ends_at_instant = isinstance(until, datetime) and until.tzinfo is not None
    return ends_at_instant or any(due_text is not None and due_text.endswith("Z") for due_text in due_texts)


def next_start(row: Row, due_date: str, task_time: UserTime) -> str | None:
    """Return the start date that belongs to a later due date of a series."""
    return shift_start(row["recurrence_start"], row["recurrence_due"], due_date, task_time)


def shift_start(start: str | None, due_before: str, due_after: str, task_time: UserTime) -> str | None:
    """Move a start date by the same interval as its due date."""
    if start is None or due_before == due_after:
        return start
    return task_time.format_due(
        rules.shift(task_time.to_local(start), task_time.to_local(due_before), task_time.to_local(due_after)),
        template=start,
    )


def to_state(row: Row, task_time: UserTime) -> State:
    """Return the state of a series, in local time."""
    anchor = task_time.to_local(row["recurrence_anchor"])
    nominal = _in_sequence(row["recurrence_due"], anchor, task_time)
    if row["due_date"] == row["recurrence_due"]:
        return State(anchor, row["recurrence_number"], due=nominal)
    return State(anchor, row["recurrence_number"], due=task_time.to_local(row["due_date"]), nominal=nominal)


def _in_sequence(due_text: str, anchor: Due, task_time: UserTime) -> Due:
    """Return the local due date of a stored one. For an instant, this is its local day with the anchor's time of day.

    The wall-clock time of the instant can differ from the anchor's time of day: if the owner has changed the zone, or
    if a clock change skipped the intended time, which may have been on the day before.
    """
    due = task_time.to_local(due_text)
    if not due_text.endswith("Z") or not isinstance(due, datetime) or not isinstance(anchor, datetime):
        return due
    meant = datetime.combine(due, anchor.time())
    if meant <= due or task_time.format_due(meant, template=due_text) == due_text:
        return meant
    day_before = meant - ONE_DAY if meant.toordinal() > 1 else meant
    return day_before if task_time.format_due(day_before, template=due_text) == due_text else meant


def to_recurrence(stored: Mapping[str, Any], task_time: UserTime) -> rules.Recurrence:
    """Return a stored recurrence in the form for computations: all times are local."""
    rule = parse_stored_rule(stored["rule"])
    if isinstance(rule.until, datetime) and rule.until.tzinfo is not None:
        rule = replace(rule, until=task_time.wall_time_at(rule.until))
    return rules.Recurrence(rule, counted_from=stored["from"], month_end=stored["month_end"], missed=stored["missed"])


@lru_cache(maxsize=1024)
def parse_stored_rule(rule: str) -> rules.Rule:
    """Return a stored rule, parsed. Cached, because many series have the same rule."""
    return rules.parse_rule(rule)
