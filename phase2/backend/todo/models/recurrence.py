"""Recurrence: the schema of a recurrence rule and its options."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from todo.kit.recurrence import parse_rule


def _checked(text: str) -> str:
    parse_rule(text)
    return text.strip().upper().removeprefix("RRULE:")


Rule = Annotated[str, AfterValidator(_checked)]
"""Stored as it was sent, in upper case and without ``RRULE:``."""

_RULE = (
    "A recurrence rule of RFC 5545: `FREQ` (`DAILY`, `WEEKLY`, `MONTHLY` or `YEARLY`), with `INTERVAL`, `BYDAY`, "
    "`BYMONTHDAY`, `BYMONTH`, `BYSETPOS`, `COUNT` or `UNTIL`, and `WKST`."
)


class CountedFrom(StrEnum):
    """The date from which the next date is counted."""

    due = "due"
    completion = "completion"


class MonthEnd(StrEnum):
    """The treatment of a month that lacks the day."""

    clamp = "clamp"
    skip = "skip"


class Missed(StrEnum):
    """The treatment of dates that have passed."""

    skip = "skip"
    keep = "keep"


# Task: T-312
class Recurrence(BaseModel):
    """The recurrence of a task."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rule: Rule = Field(description=_RULE, examples=["FREQ=MONTHLY"])
    counted_from: CountedFrom = Field(
        default=CountedFrom.due,
        alias="from",
        description="`due`: the rule counts from the due date. `completion`: it counts from the day of completion.",
        examples=["due"],
    )
    month_end: MonthEnd = Field(
        default=MonthEnd.clamp,
        description="If a month lacks the day: `clamp` uses its last day, `skip` skips the month.",
        examples=["clamp"],
    )
    missed: Missed = Field(
        default=Missed.skip,
        description="On completion, `skip` advances to the next date in the future, `keep` to the next in sequence.",
        examples=["skip"],
    )

    def stored(self) -> dict[str, Any]:
        """Return the JSON that is stored and returned to clients."""
        return self.model_dump(mode="json", by_alias=True)
