"""Parsing of recurrence rules. A rule that is unsupported, unreasonable, or never occurs is refused.

No error message repeats the input.
"""

import re
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any

from todo.kit.recurrence.cycle import ALL_MONTHS, KINDS
from todo.kit.recurrence.rule_days import RuleDays
from todo.kit.recurrence.rules import WEEKDAYS, Frequency, Rule, Weekday

# These limits keep the arithmetic fast for any rule.
MAX_CHARACTERS = 500
MAX_INTERVAL = 1_000
MAX_COUNT = 1_000

_UNSUPPORTED = frozenset({"BYYEARDAY", "BYWEEKNO", "BYHOUR", "BYMINUTE", "BYSECOND", "BYEASTER", "RSCALE", "SKIP"})
_TOO_FREQUENT = frozenset({"SECONDLY", "MINUTELY", "HOURLY"})
_WEEKDAY = re.compile(rf"(?P<ordinal>[+-]?0*([1-9]|[1-4][0-9]|5[0-3]))?(?P<weekday>{'|'.join(WEEKDAYS)})")
_DAY = re.compile(r"[0-9]{8}")
# Stricter than the parsers of newer versions of Python, which accept 24:00.
_TIME = re.compile(r"[0-9]{8}T([01][0-9]|2[0-3])[0-9]{4}Z?")
_POSITIVE = re.compile(r"\+?[0-9]{1,9}")
_SIGNED = re.compile(r"[+-]?[0-9]{1,9}")

_EXAMPLE = "as in FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH"


# Task: T-321
def parse_rule(text: str, *, week_start: int = 0) -> Rule:
    """Parse a rule, in any case and with or without ``RRULE:`` in front.

    ``week_start`` (0 is Monday) is the default of WKST. Raises ValueError, with a message for the user, for anything
    that cannot be represented exactly. A rule is accepted only if it occurs for some anchor, without clamping.
    """
    given = _parts(text)
    if "FREQ" not in given:
        raise ValueError(f"A rule needs FREQ, {_EXAMPLE}.")
    fields = {name: read(given[part]) for part, (name, read) in _READERS.items() if part in given}
    rule = Rule(**{"week_start": week_start, **fields})
    _check(rule)
    if not rule.uses_week_start:
        rule = Rule(**{**fields, "week_start": 0})
    return rule


def _parts(text: str) -> dict[str, str]:
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"A rule has at most {MAX_CHARACTERS} characters.")
    # Some letters of other alphabets have an ASCII letter as their upper case.
    if not text.isascii():
        raise ValueError(f"A rule is written in plain letters and digits, {_EXAMPLE}.")
    parts: dict[str, str] = {}
    for part in text.strip().upper().removeprefix("RRULE:").split(";"):
        name, equals, value = part.partition("=")
        if name in _UNSUPPORTED:
            raise ValueError(f"{name} is not supported. Use BYMONTH, BYMONTHDAY, BYDAY and BYSETPOS.")
        if not equals or name not in _READERS:
            raise ValueError(f"A rule is made of {', '.join(_READERS)}, {_EXAMPLE}. Leave out anything else.")
        if name in parts:
            raise ValueError(f"{name} is given twice. Give it once.")
        parts[name] = value
    return parts


def _check(rule: Rule) -> None:
    if rule.count is not None and rule.until is not None:
        raise ValueError("COUNT and UNTIL exclude each other. Give one of them.")
    if rule.frequency is Frequency.WEEKLY and rule.month_days:
        raise ValueError("BYMONTHDAY cannot be used with FREQ=WEEKLY. Use FREQ=MONTHLY.")
    if rule.frequency in {Frequency.DAILY, Frequency.WEEKLY} and any(ordinal for ordinal, _ in rule.weekdays):
        raise ValueError("A number in BYDAY, as in 1MO, can be used only with FREQ=MONTHLY or FREQ=YEARLY.")
    if rule.positions and not (rule.months or rule.month_days or rule.weekdays):
        raise ValueError("BYSETPOS chooses from a set. Give BYDAY, BYMONTHDAY or BYMONTH as well.")
    if not _occurs(rule):
        raise ValueError(
            "This rule never occurs. Choose days that exist in its months, and a BYSETPOS that its set has."
        )


def _occurs(rule: Rule) -> bool:
    """Return whether any period contains a day of the rule. The anchor is the first of a month."""
    if rule.frequency in {Frequency.DAILY, Frequency.WEEKLY} and rule.positions:
        most = len({day for _, day in rule.weekdays} or {0}) if rule.frequency is Frequency.WEEKLY else 1
        if min(map(abs, rule.positions)) > most:
            return False
    if rule.frequency is Frequency.WEEKLY:
        return True
    days = RuleDays(rule, date(2001, 1, 1), clamp=False)
    if rule.frequency is Frequency.YEARLY:
        return any(days.of_year(kind) for kind in KINDS)
    return any(days.of_month(kind, month) for kind in KINDS for month in ALL_MONTHS)


def _frequency(value: str) -> Frequency:
    if value in _TOO_FREQUENT:
        raise ValueError(f"{value} is not supported: a task is due once a day at most. Use DAILY.")
    try:
        return Frequency(value)
    except ValueError:
        raise ValueError("FREQ is one of DAILY, WEEKLY, MONTHLY, YEARLY.") from None


def _number(part: str, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not _POSITIVE.fullmatch(value) or not 1 <= int(value) <= most:
            raise ValueError(f"{part} is a whole number from 1 to {most}.")
        return int(value)

    return read


def _numbers(part: str, most: int, *, from_the_end: bool) -> Callable[[str], tuple[int, ...]]:
    shape, ends = (_SIGNED, f" or from -{most} to -1") if from_the_end else (_POSITIVE, "")

    def read(value: str) -> tuple[int, ...]:
        items = value.split(",")
        if not all(shape.fullmatch(item) and 1 <= abs(int(item)) <= most for item in items):
            raise ValueError(f"{part} lists whole numbers from 1 to {most}{ends}, separated by commas.")
        return _set(map(int, items))

    return read


def _weekdays(value: str) -> tuple[Weekday, ...]:
    found = [_WEEKDAY.fullmatch(item) for item in value.split(",")]
    days = [Weekday(int(day["ordinal"] or 0), WEEKDAYS.index(day["weekday"])) for day in found if day]
    if len(days) < len(found):
        raise ValueError(
            f"BYDAY lists {', '.join(WEEKDAYS)}, separated by commas; with a number for one of them: 1MO, or -1FR."
        )
    return _set(days)


def _until(value: str) -> date | datetime:
    try:
        if _DAY.fullmatch(value):
            return date.fromisoformat(value)
        if _TIME.fullmatch(value):
            return datetime.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError("UNTIL is a day that exists, as in 20261231, or a time, as in 20261231T235900Z.")


def _weekday(value: str) -> int:
    if value not in WEEKDAYS:
        raise ValueError(f"WKST is one of {', '.join(WEEKDAYS)}.")
    return WEEKDAYS.index(value)


def _set(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(set(items)))


_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "FREQ": ("frequency", _frequency),
    "INTERVAL": ("interval", _number("INTERVAL", MAX_INTERVAL)),
    "BYMONTH": ("months", _numbers("BYMONTH", 12, from_the_end=False)),
    "BYMONTHDAY": ("month_days", _numbers("BYMONTHDAY", 31, from_the_end=True)),
    "BYDAY": ("weekdays", _weekdays),
    "BYSETPOS": ("positions", _numbers("BYSETPOS", 366, from_the_end=True)),
    "COUNT": ("count", _number("COUNT", MAX_COUNT)),
    "UNTIL": ("until", _until),
    "WKST": ("week_start", _weekday),
}
