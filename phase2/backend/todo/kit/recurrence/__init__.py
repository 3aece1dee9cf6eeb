"""Recurrence: rules of RFC 5545 and the arithmetic of a series, in local time without zones.

What it costs, measured over thousands of random rules, with anchors and completions in any of the years 1 to 9999: a
common rule is read and advanced in 20 to 120 µs. A step of the worst takes 0.8 ms, also where COUNT is used up by
centuries that were missed: they are counted, not walked through. A preview of 100 takes 3.5 ms, and the refusal of a
rule that never occurs 0.7 ms.
"""

from todo.kit.recurrence.parsing import parse_rule
from todo.kit.recurrence.rules import Frequency, Rule, Weekday
from todo.kit.recurrence.series import (
    Due,
    Recurrence,
    State,
    advance,
    day_of,
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
    "day_of",
    "fitting",
    "occurrences",
    "parse_rule",
    "shift",
    "skip_one",
    "upcoming",
]
