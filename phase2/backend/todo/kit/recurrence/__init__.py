"""Recurrence: rules of RFC 5545 and the arithmetic of a series, in local time without zones."""

from todo.kit.recurrence.parsing import parse_rule
from todo.kit.recurrence.rules import Frequency, Rule, Weekday
from todo.kit.recurrence.series import (
    Due,
    Recurrence,
    State,
    advance,
    fitting,
    occurrences,
    shift,
    skip_one,
    upcoming,
)

__all__ = [
    "Due",
    "Frequency",
    "Recurrence",
    "Rule",
    "State",
    "Weekday",
    "advance",
    "fitting",
    "occurrences",
    "parse_rule",
    "shift",
    "skip_one",
    "upcoming",
]
