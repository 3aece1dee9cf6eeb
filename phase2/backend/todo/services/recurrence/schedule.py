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
from todo.services.recurrence.user_time import Clock

ONE_DAY = timedelta(days=1)

# Number of precomputed occurrences. The rule is rarely evaluated again, and the row stays small.
_MOST_STEPS = 10


def columns_of(row: Row, here: Clock, state: State | None) -> dict[str, Any] | None:
    """Return the columns of a series that advances to ``state``; ``None`` if the series has ended."""
    if state is None:
        return None
    due_date = here.form(state.due, like=row["recurrence_due"])
    start_date = next_start(row, due_date, here)
    # The anchor stays unchanged: a series that counts from completion takes only its time of day from it.
    columns = {
        "due_date": due_date,
        "start_date": start_date,
        "recurrence_number": state.number,
        "recurrence_due": due_date,
        "recurrence_start": start_date,
    }
    return {**columns, "upcoming": upcoming({**row, **columns}, here)}


# Task: T-327
def upcoming(row: Row, here: Clock) -> str | None:
    """Return the column ``upcoming``: a JSON list of the open occurrence and the next ones.

    The database takes them one after the other. Each entry is as if the series had advanced to it step by step.
    ``None`` if no next occurrence is known, or if it depends on the day of completion.
    """
    recurrence = arithmetic(row["recurrence"], here)
    if recurrence.counted_from == CountedFrom.completion:
        return None
    is_counted = recurrence.rule.count is not None
    forms = (row[name] for name in ("due_date", "recurrence_anchor", "recurrence_due", "recurrence_start"))
    in_zone = [here.zone] if follows_owner(row["due_time_zone"], forms, row["recurrence"]["rule"]) else []
    due_before, start_before = row["recurrence_due"], row["recurrence_start"]
    steps = [[row["due_date"]]]
    for number, due in islice(rules.upcoming(recurrence, state_of(row, here)), _MOST_STEPS):
        form = here.form(due, like=due_before)
        start = next_start(row, form, here)
        if form == due_before or start != shifted(start_before, due_before, form, here):
            # There is a clock change in between. The following dates depend on whether the series stops at this one,
            # so the list ends before it.
            break
        steps.append([form, start, number if is_counted else None, *in_zone])
        due_before, start_before = form, start
    return orjson.dumps(steps).decode() if len(steps) > 1 else None


def follows_owner(due_time_zone: str | None, forms: Iterable[str | None], rule: str) -> bool:
    """Return whether the dates of a series depend on its owner's zone.

    They do if the task has no zone of its own, and one of its dates or UNTIL is an instant.
    """
    if due_time_zone is not None:
        return False
    until = parsed(rule).until
    ends_at_instant = isinstance(until, datetime) and until.tzinfo is not None
    return ends_at_instant or any(form is not None and form.endswith("Z") for form in forms)


def next_start(row: Row, due_date: str, here: Clock) -> str | None:
    """Return the start date that belongs to a later due date of a series."""
    return shifted(row["recurrence_start"], row["recurrence_due"], due_date, here)


def shifted(start: str | None, due_before: str, due_after: str, here: Clock) -> str | None:
    """Move a start date by the same interval as its due date."""
    if start is None or due_before == due_after:
        return start
    return here.form(rules.shift(here.local(start), here.local(due_before), here.local(due_after)), like=start)


def state_of(row: Row, here: Clock) -> State:
    """Return the state of a series, in local time."""
    anchor = here.local(row["recurrence_anchor"])
    nominal = _in_sequence(row["recurrence_due"], anchor, here)
    if row["due_date"] == row["recurrence_due"]:
        return State(anchor, row["recurrence_number"], due=nominal)
    return State(anchor, row["recurrence_number"], due=here.local(row["due_date"]), nominal=nominal)


def _in_sequence(form: str, anchor: Due, here: Clock) -> Due:
    """Return the local due date of a stored one. For an instant, this is its local day with the anchor's time of day.

    The wall-clock time of the instant can differ from the anchor's time of day: if the owner has changed the zone, or
    if a clock change skipped the intended time, which may have been on the day before.
    """
    due = here.local(form)
    if not form.endswith("Z") or not isinstance(due, datetime) or not isinstance(anchor, datetime):
        return due
    meant = datetime.combine(due, anchor.time())
    if meant <= due or here.form(meant, like=form) == form:
        return meant
    day_before = meant - ONE_DAY if meant.toordinal() > 1 else meant
    return day_before if here.form(day_before, like=form) == form else meant


def arithmetic(stored: Mapping[str, Any], here: Clock) -> rules.Recurrence:
    """Return a stored recurrence in the form for computations: all times are local."""
    rule = parsed(stored["rule"])
    if isinstance(rule.until, datetime) and rule.until.tzinfo is not None:
        rule = replace(rule, until=here.shown(rule.until))
    return rules.Recurrence(rule, counted_from=stored["from"], month_end=stored["month_end"], missed=stored["missed"])


@lru_cache(maxsize=1024)
def parsed(rule: str) -> rules.Rule:
    """Return a stored rule, parsed. Cached, because many series have the same rule."""
    return rules.parse_rule(rule)
