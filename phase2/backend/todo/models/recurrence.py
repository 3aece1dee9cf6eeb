"""How a task repeats: the shape that the API accepts and returns."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from todo.kit.recurrence import parse_rule


def _checked(text: str) -> str:
    parse_rule(text)
    return text.strip().upper().removeprefix("RRULE:")


Rule = Annotated[str, AfterValidator(_checked)]
"""Kept as it was sent, in capitals."""

_RULE = (
    "A rule of RFC 5545: FREQ of DAILY, WEEKLY, MONTHLY or YEARLY with INTERVAL, BYDAY, BYMONTHDAY, BYMONTH, BYSETPOS, "
    "COUNT or UNTIL, and WKST."
)


class CountedFrom(StrEnum):
    """What the next date is counted from."""

    due = "due"
    completion = "completion"


class MonthEnd(StrEnum):
    """What becomes of a day that a month does not have."""

    clamp = "clamp"
    skip = "skip"


class Missed(StrEnum):
    """What becomes of dates that have passed."""

    skip = "skip"
    keep = "keep"


# Task: T-312
class Recurrence(BaseModel):
    """How a task repeats."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rule: Rule = Field(description=_RULE, examples=["FREQ=MONTHLY"])
    counted_from: CountedFrom = Field(
        default=CountedFrom.due,
        alias="from",
        description="`due`: from date to date. `completion`: the rule begins on the day it was completed.",
        examples=["due"],
    )
    month_end: MonthEnd = Field(
        default=MonthEnd.clamp,
        description="Where a month lacks the day: `clamp` takes its last day, `skip` passes the month over.",
        examples=["clamp"],
    )
    missed: Missed = Field(
        default=Missed.skip,
        description="On completion, `skip` goes on to the next date in the future, `keep` to the next in sequence.",
        examples=["skip"],
    )

    def stored(self) -> dict[str, Any]:
        """Return it as it is stored and given back."""
        return self.model_dump(mode="json", by_alias=True)
