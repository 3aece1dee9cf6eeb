"""Recurrence: rules of RFC 5545 and the arithmetic of a series, in local time without time zones.

The cost was measured over thousands of random rules, with anchors and completions in any of the years 1 to 9999.
Parsing and advancing a common rule takes 20 to 120 µs. Advancing the worst rule takes 0.8 ms, even if missed centuries
use up COUNT: they are counted, not iterated over. A preview of 100 occurrences takes 3.5 ms, and the refusal of a rule
that never occurs 0.7 ms.
"""

from todo.kit.recurrence.parsing import parse_rule
from todo.kit.recurrence.rules import Frequency, Rule, Weekday
from todo.kit.recurrence.series import (
    LocalDue,
    Recurrence,
    State,
    advance,
    day_of,
    first_match,
    occurrences,
    shift,
    skip_occurrence,
    upcoming,
)

__all__ = [
    "Frequency",
    "LocalDue",
    "Recurrence",
    "Rule",
    "State",
    "Weekday",
    "advance",
    "day_of",
    "first_match",
    "occurrences",
    "parse_rule",
    "shift",
    "skip_occurrence",
    "upcoming",
]
