"""Random recurrence rules, and their expansion by python-dateutil."""

from datetime import date, datetime
from typing import Literal

from dateutil import rrule as peer
from hypothesis import strategies as st

from todo.kit.recurrence import Rule

_DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
_FREQUENCIES: dict[str, Literal[0, 1, 2, 3]] = {
    "DAILY": peer.DAILY,
    "WEEKLY": peer.WEEKLY,
    "MONTHLY": peer.MONTHLY,
    "YEARLY": peer.YEARLY,
}


# Task: T-324
def _some(items: list[str], most: int) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(items), min_size=1, max_size=most, unique=True).map(",".join)


@st.composite
def rule_texts(draw: st.DrawFn, *, most_interval: int = 14) -> str:
    """Draw a rule that has occurrences and never ends, of any frequency and with any parts."""
    frequency = draw(st.sampled_from(list(_FREQUENCIES)))
    parts = [f"FREQ={frequency}", f"INTERVAL={draw(st.integers(1, most_interval))}"]
    # Days that every month has, sometimes together with days that some months lack: so nearly every rule occurs.
    month_days = ["1", "13", "28", "-1", "-28"]
    ordinals = {"MONTHLY": ["1", "2", "4", "-1", "-3"], "YEARLY": ["1", "3", "-1", "-4"]}.get(frequency, [])
    weekdays = _DAYS + [number + day for number in ordinals for day in _DAYS]
    chosen = draw(st.sampled_from(["", "", "days", "month_days", "both"]))
    if draw(st.booleans()):
        parts.append("BYMONTH=" + draw(_some([str(month) for month in range(1, 13)], 4)))
    if chosen == "both" and frequency != "WEEKLY":
        numbers = ",".join(map(str, range(1, 32)))
        parts += [f"BYMONTHDAY={numbers}", "BYDAY=" + draw(_some(weekdays, 3))]
    elif chosen == "month_days" and frequency != "WEEKLY":
        lacking = draw(st.sampled_from(["", ",29", ",30,31", ",-31,-30", ",29,30,31"]))
        parts.append("BYMONTHDAY=" + draw(_some(month_days, 3)) + lacking)
    elif chosen:
        parts.append("BYDAY=" + draw(_some(weekdays, 5)))
    if len(parts) > 2 and draw(st.booleans()):
        parts.append(f"BYSETPOS={draw(st.sampled_from(['1', '-1', '1,2', '2,-1', '-1,3']))}")
    if draw(st.booleans()):
        parts.append("WKST=" + draw(st.sampled_from(_DAYS)))
    return ";".join(parts)


def expanded_by_peer(rule: Rule, anchor: date, last: date) -> list[date]:
    """Return the days from the anchor to ``last`` according to python-dateutil. Months that lack a day are skipped."""
    weekly = rule.frequency == "WEEKLY"
    # dateutil treats the rest of the anchor's week as a whole week, so start at the beginning of the week.
    begin = anchor.toordinal() - (anchor.weekday() - rule.week_start) % 7 if weekly else anchor.toordinal()
    # dateutil intersects the days of TU,1MO; RFC 5545 unites them. So list every Tuesday as the first, second, ...
    mixed = {bool(number) for number, _ in rule.weekdays} == {True, False}
    every = range(1, 54 if rule.frequency == "YEARLY" and not rule.months else 6) if mixed else [None]
    weekdays = [peer.weekday(day, n) for number, day in rule.weekdays for n in ([number] if number else every)]
    if weekly and not weekdays:
        weekdays = [peer.weekday(anchor.weekday())]
    found = peer.rrule(
        _FREQUENCIES[rule.frequency],
        dtstart=datetime.combine(date.fromordinal(begin), datetime.min.time()),
        interval=rule.interval,
        bymonth=rule.months or None,
        bymonthday=rule.month_days or None,
        byweekday=weekdays or None,
        bysetpos=None if rule.frequency == "DAILY" else rule.positions or None,
        wkst=rule.week_start,
        until=datetime.combine(last, datetime.min.time()),
    )
    return [day for day in (time.date() for time in found) if day >= anchor]
