"""A series, step by step: the cases that broke other products, each by name."""

# ruff: noqa: DTZ001  Times are naive here: local to the task.

from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any

import pytest

from todo.kit.recurrence import (
    Due,
    Recurrence,
    State,
    advance,
    fitting,
    occurrences,
    parse_rule,
    shift,
    skip_one,
    upcoming,
)


def recurrence(text: str, **settings: Any) -> Recurrence:
    return Recurrence(parse_rule(text), **settings)


def expanded(text: str, anchor: Due, number: int = 6, **settings: Any) -> list[str]:
    found = islice(occurrences(recurrence(text, **settings), anchor), number)
    return [due.isoformat() for _, due in found]


def completed(how: Recurrence, state: State, on: Due) -> State | None:
    """Complete the open occurrence at this time, or at noon of this day."""
    now = on if isinstance(on, datetime) else datetime.combine(on, time(12))
    return advance(how, state, completed=now, today=now.date())


def completed_when_due(how: Recurrence, first: Due, times: int) -> list[str]:
    state: State | None = State(first, 1, first)
    dues = []
    for _ in range(times):
        assert state is not None
        state = completed(how, state, state.due)
        dues.append("over" if state is None else state.due.isoformat())
        if state is None:
            break
    return dues


# Task: T-322
class TestOccurrences:
    def test_come_back_to_the_31st_after_short_months(self) -> None:
        assert expanded("FREQ=MONTHLY;BYMONTHDAY=31", date(2026, 1, 31), 5) == [
            *("2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31")
        ]

    def test_leave_out_the_months_without_a_31st_where_asked_to(self) -> None:
        assert expanded("FREQ=MONTHLY;BYMONTHDAY=31", date(2022, 1, 31), 4, month_end="skip") == [
            *("2022-01-31", "2022-03-31", "2022-05-31", "2022-07-31")
        ]

    def test_have_a_day_once_where_two_are_clamped_to_it(self) -> None:
        assert expanded("FREQ=MONTHLY;BYMONTHDAY=30,31", date(2026, 1, 30), 5) == [
            *("2026-01-30", "2026-01-31", "2026-02-28", "2026-03-30", "2026-03-31")
        ]

    def test_do_not_clamp_days_counted_from_the_end(self) -> None:
        assert expanded("FREQ=MONTHLY;BYMONTHDAY=-31", date(2026, 1, 1), 3) == [
            "2026-01-01",
            "2026-03-01",
            "2026-05-01",
        ]

    def test_fall_on_the_last_day_of_each_month(self) -> None:
        assert expanded("FREQ=MONTHLY;BYMONTHDAY=-1", date(2023, 12, 31), 4, month_end="skip") == [
            *("2023-12-31", "2024-01-31", "2024-02-29", "2024-03-31")
        ]

    def test_fall_on_the_last_working_day(self) -> None:
        assert expanded("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", date(2026, 1, 30), 3) == [
            *("2026-01-30", "2026-02-27", "2026-03-31")
        ]

    def test_clamp_before_the_weekday_is_looked_at(self) -> None:
        assert expanded("FREQ=MONTHLY;BYMONTHDAY=31;BYDAY=SA", date(2026, 1, 31), 3) == [
            *("2026-01-31", "2026-02-28", "2026-10-31")
        ]

    @pytest.mark.parametrize(
        ("start", "dues"),
        [
            ("MO", ["1997-08-05", "1997-08-10", "1997-08-19", "1997-08-24"]),
            ("SU", ["1997-08-05", "1997-08-17", "1997-08-19", "1997-08-31"]),
        ],
    )
    def test_mind_the_day_that_a_week_starts_on(self, start: str, dues: list[str]) -> None:
        assert expanded(f"FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST={start}", date(1997, 8, 5), 4) == dues

    def test_keep_the_time_of_day(self) -> None:
        assert expanded("FREQ=DAILY", datetime(2026, 3, 28, 2, 30), 3) == [
            *("2026-03-28T02:30:00", "2026-03-29T02:30:00", "2026-03-30T02:30:00")
        ]

    def test_begin_near_the_date_asked_for_however_old_the_anchor_is(self) -> None:
        found = occurrences(recurrence("FREQ=MONTHLY"), date(1, 1, 31), after=date(9998, 12, 31), number=7)

        assert list(islice(found, 2)) == [(8, date(9999, 1, 31)), (9, date(9999, 2, 28))]

    def test_end_with_the_year_9999(self) -> None:
        assert expanded("FREQ=DAILY;INTERVAL=30", date(9999, 11, 20)) == ["9999-11-20", "9999-12-20"]
        assert (
            list(occurrences(recurrence("FREQ=DAILY;INTERVAL=30"), date(9999, 12, 20), after=date(9999, 12, 25))) == []
        )
        assert expanded("FREQ=WEEKLY;BYDAY=MO,SU", date(9999, 12, 27)) == ["9999-12-27"]
        assert expanded("FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=31", date(9999, 12, 31)) == ["9999-12-31"]

    def test_can_begin_in_a_week_that_the_calendar_has_no_start_for(self) -> None:
        assert expanded("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SA;BYMONTH=1;WKST=SU", date(1, 1, 1), 2) == [
            *("0001-01-01", "0001-01-06")
        ]

    def test_end_when_count_is_used_up(self) -> None:
        assert expanded("FREQ=DAILY;COUNT=2", date(2026, 1, 1)) == ["2026-01-01", "2026-01-02"]

    @pytest.mark.parametrize(
        ("until", "anchor", "number"),
        [
            ("20260103", date(2026, 1, 1), 3),
            ("20260103", datetime(2026, 1, 1, 23, 59), 3),
            ("20260103T090000", datetime(2026, 1, 1, 9), 3),
            ("20260103T085959", datetime(2026, 1, 1, 9), 2),
            ("20260103T090000Z", datetime(2026, 1, 1, 9), 3),
            ("20260103T085959Z", datetime(2026, 1, 1, 9), 2),
            ("20260103T000000Z", date(2026, 1, 1), 3),
            ("20251231", date(2026, 1, 1), 0),
        ],
    )
    def test_end_with_until_whatever_its_form(self, until: str, anchor: Due, number: int) -> None:
        assert len(expanded(f"FREQ=DAILY;UNTIL={until}", anchor)) == number


# Task: T-322
class TestFitting:
    @pytest.mark.parametrize(
        ("text", "due", "fits"),
        [
            ("FREQ=WEEKLY;BYDAY=MO", date(2026, 3, 10), date(2026, 3, 16)),
            ("FREQ=WEEKLY;BYDAY=TU", date(2026, 3, 10), date(2026, 3, 10)),
            ("FREQ=MONTHLY", date(2026, 1, 31), date(2026, 1, 31)),
            ("FREQ=YEARLY;BYMONTH=2", date(2026, 3, 30), date(2027, 2, 28)),
            ("FREQ=MONTHLY;BYMONTHDAY=-1", datetime(2026, 2, 3, 9, 15), datetime(2026, 2, 28, 9, 15)),
            ("FREQ=DAILY;INTERVAL=7;BYDAY=MO", date(2026, 3, 10), None),
            ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;UNTIL=20270101", date(2026, 3, 10), None),
            ("FREQ=MONTHLY;INTERVAL=12;BYMONTH=2", date(2026, 3, 10), None),
            ("FREQ=YEARLY", date(9999, 12, 31), date(9999, 12, 31)),
        ],
    )
    def test_says_which_due_date_would_do(self, text: str, due: Due, fits: Due | None) -> None:
        assert fitting(recurrence(text), due) == fits

    def test_knows_what_a_month_that_has_no_such_day_means(self) -> None:
        only_february = "FREQ=YEARLY;BYMONTH=2"

        fits = [fitting(recurrence(only_february, month_end=end), date(2026, 3, 30)) for end in ("clamp", "skip")]

        assert fits == [date(2027, 2, 28), None]


# Task: T-323
class TestAdvance:
    @pytest.mark.parametrize(
        ("text", "first", "dues"),
        [
            ("FREQ=MONTHLY", "2026-01-31", ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]),
            ("FREQ=YEARLY", "2024-02-29", ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]),
            ("FREQ=MONTHLY;INTERVAL=6", "2025-08-31", ["2026-02-28", "2026-08-31", "2027-02-28", "2027-08-31"]),
            ("FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-31", ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]),
            ("FREQ=DAILY;COUNT=3", "2026-01-31", ["2026-02-01", "2026-02-02", "over"]),
            ("FREQ=DAILY;UNTIL=20260201", "2026-01-31", ["2026-02-01", "over"]),
        ],
    )
    def test_goes_on_from_the_anchor(self, text: str, first: str, dues: list[str]) -> None:
        assert completed_when_due(recurrence(text), date.fromisoformat(first), 4) == dues

    def test_leaves_out_months_without_the_day_where_asked_to(self) -> None:
        monthly = recurrence("FREQ=MONTHLY;BYMONTHDAY=31", month_end="skip")
        yearly = recurrence("FREQ=YEARLY", month_end="skip")

        assert completed_when_due(monthly, date(2022, 1, 31), 3) == ["2022-03-31", "2022-05-31", "2022-07-31"]
        assert completed_when_due(yearly, date(2096, 2, 29), 1) == ["2104-02-29"]

    def test_leaves_exactly_one_open_after_three_missed_days(self) -> None:
        daily, state = recurrence("FREQ=DAILY"), State(date(2026, 3, 7), 1, date(2026, 3, 7))

        assert completed(daily, state, date(2026, 3, 10)) == State(date(2026, 3, 7), 2, date(2026, 3, 11))

    def test_goes_through_missed_days_one_by_one_where_they_are_kept(self) -> None:
        daily, state = recurrence("FREQ=DAILY", missed="keep"), State(date(2026, 3, 7), 1, date(2026, 3, 7))

        assert completed(daily, state, date(2026, 3, 10)) == State(date(2026, 3, 7), 2, date(2026, 3, 8))

    def test_uses_up_count_by_what_was_missed(self) -> None:
        first = date(2026, 3, 7)
        state = State(first, 1, first)

        assert completed(recurrence("FREQ=DAILY;COUNT=5"), state, date(2026, 3, 10)) == State(
            first, 5, date(2026, 3, 11)
        )
        assert completed(recurrence("FREQ=DAILY;COUNT=4"), state, date(2026, 3, 10)) is None
        assert completed(recurrence("FREQ=DAILY;UNTIL=20260310"), state, date(2026, 3, 10)) is None

    @pytest.mark.parametrize(
        ("text", "missed"),
        [
            ("FREQ=DAILY;INTERVAL=773", 189),
            ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29", 97),
            ("FREQ=WEEKLY;INTERVAL=27;BYDAY=SA", 773),
            ("FREQ=MONTHLY;BYMONTHDAY=13;BYDAY=FR", 688),
            ("FREQ=MONTHLY;INTERVAL=5", 960),
            ("FREQ=YEARLY;BYDAY=53TH", 71),
        ],
    )
    def test_uses_up_count_by_what_the_calendar_has_in_four_centuries(self, text: str, missed: int) -> None:
        how = recurrence(f"{text};COUNT=1000", month_end="skip")
        first = fitting(how, date(2001, 1, 1))
        assert isinstance(first, date)
        again = first.replace(year=first.year + 400)

        after = completed(how, State(first, 1, first), again - timedelta(1))

        assert after == State(first, missed + 1, again)

    @pytest.mark.parametrize(
        ("now", "due"),
        [
            (datetime(2026, 3, 10, 8, 59), datetime(2026, 3, 10, 9)),
            (datetime(2026, 3, 10, 9), datetime(2026, 3, 11, 9)),
            (datetime(2026, 3, 10, 9, 1), datetime(2026, 3, 11, 9)),
        ],
    )
    def test_takes_the_first_time_of_day_that_is_still_to_come(self, now: datetime, due: datetime) -> None:
        first = datetime(2026, 3, 7, 9)

        assert completed(recurrence("FREQ=DAILY"), State(first, 1, first), now) == State(first, 2, due)

    def test_goes_by_the_users_day_where_it_is_all_day(self) -> None:
        first = date(2026, 3, 9)

        # Half past one, and the user's day starts at four.
        after = advance(
            recurrence("FREQ=DAILY"),
            State(first, 1, first),
            completed=datetime(2026, 3, 10, 1, 30),
            today=date(2026, 3, 9),
        )

        assert after == State(first, 2, date(2026, 3, 10))

    def test_moves_past_the_due_date_when_completed_early(self) -> None:
        due = date(2026, 3, 31)

        after = completed(recurrence("FREQ=MONTHLY"), State(date(2026, 1, 31), 3, due), date(2026, 3, 1))

        assert after == State(date(2026, 1, 31), 4, date(2026, 4, 30))

    def test_moves_a_parent_and_a_child_alike(self) -> None:
        weekly = recurrence("FREQ=WEEKLY;BYDAY=TU")

        assert completed_when_due(weekly, date(2026, 3, 10), 3) == ["2026-03-17", "2026-03-24", "2026-03-31"]

    def test_goes_on_in_sequence_after_an_occurrence_that_was_moved_alone(self) -> None:
        weekly, anchor = recurrence("FREQ=WEEKLY;BYDAY=MO"), date(2026, 3, 2)
        earlier = State(anchor, 2, date(2026, 3, 7), nominal=date(2026, 3, 9))
        later = State(anchor, 2, date(2026, 3, 11), nominal=date(2026, 3, 9))
        past_the_next = State(anchor, 2, date(2026, 3, 18), nominal=date(2026, 3, 9))

        after = [completed(weekly, state, state.due) for state in (earlier, later, past_the_next)]

        assert after == [State(anchor, 3, date(2026, 3, day)) for day in (16, 16, 23)]

    def test_counts_what_a_moved_occurrence_went_past(self) -> None:
        weekly, anchor = recurrence("FREQ=WEEKLY;BYDAY=MO;COUNT=4"), date(2026, 3, 2)
        state = State(anchor, 2, date(2026, 3, 18), nominal=date(2026, 3, 9))

        assert completed(weekly, state, state.due) == State(anchor, 4, date(2026, 3, 23))

    def test_gives_the_time_of_the_series_back_after_one_that_was_moved(self) -> None:
        daily, anchor = recurrence("FREQ=DAILY"), datetime(2026, 3, 10, 9)
        moved = State(anchor, 1, datetime(2026, 3, 10, 17), nominal=anchor)
        moved_to_a_day = State(anchor, 1, date(2026, 3, 10), nominal=anchor)

        after = [completed(daily, state, datetime(2026, 3, 10, 18)) for state in (moved, moved_to_a_day)]

        assert after == [State(anchor, 2, datetime(2026, 3, 11, 9))] * 2


# Task: T-323
class TestAdvanceFromCompletion:
    def test_counts_from_the_day_it_was_completed(self) -> None:
        every_30, first = recurrence("FREQ=DAILY;INTERVAL=30", counted_from="completion"), datetime(2026, 3, 1, 9)

        after = completed(every_30, State(first, 1, first), datetime(2026, 3, 10, 22))

        assert after == State(datetime(2026, 3, 10, 9), 2, datetime(2026, 4, 9, 9))

    def test_always_moves_past_the_due_date(self) -> None:
        every_30, first = recurrence("FREQ=DAILY;INTERVAL=30", counted_from="completion"), date(2026, 3, 10)
        once = completed(every_30, State(first, 1, first), first)
        assert once is not None

        twice = completed(every_30, once, first)

        assert (once.due, twice) == (date(2026, 4, 9), State(first, 3, date(2026, 5, 9)))

    def test_counts_completions_only(self) -> None:
        thrice, first = recurrence("FREQ=DAILY;COUNT=3", counted_from="completion"), date(2026, 3, 1)
        second = completed(thrice, State(first, 1, first), date(2026, 3, 20))
        assert second == State(date(2026, 3, 20), 2, date(2026, 3, 21))
        assert skip_one(thrice, second) == State(date(2026, 3, 21), 2, date(2026, 3, 22))

        third = completed(thrice, second, date(2026, 4, 1))

        assert third == State(date(2026, 4, 1), 3, date(2026, 4, 2))
        assert completed(thrice, third, date(2026, 4, 2)) is None

    def test_clamps_to_the_month_that_follows(self) -> None:
        monthly, first = recurrence("FREQ=MONTHLY", counted_from="completion"), date(2026, 1, 15)

        after = completed(monthly, State(first, 1, first), date(2026, 1, 31))

        assert after == State(date(2026, 1, 31), 2, date(2026, 2, 28))

    def test_keeps_to_the_weekdays_of_the_rule(self) -> None:
        mondays, first = recurrence("FREQ=WEEKLY;BYDAY=MO", counted_from="completion"), date(2026, 3, 2)

        after = completed(mondays, State(first, 1, first), date(2026, 3, 11))

        assert after == State(date(2026, 3, 11), 2, date(2026, 3, 16))

    def test_gives_the_time_of_the_series_back_after_one_that_was_moved(self) -> None:
        daily, anchor = recurrence("FREQ=DAILY", counted_from="completion"), datetime(2026, 3, 1, 9)
        moved = State(anchor, 2, datetime(2026, 3, 3, 17), nominal=datetime(2026, 3, 2, 9))

        after = [completed(daily, moved, datetime(2026, 3, 5, 8)), skip_one(daily, moved)]

        assert after == [
            State(datetime(2026, 3, 5, 9), 3, datetime(2026, 3, 6, 9)),
            State(datetime(2026, 3, 3, 9), 2, datetime(2026, 3, 4, 9)),
        ]

    def test_ends_with_until(self) -> None:
        monthly, first = recurrence("FREQ=MONTHLY;UNTIL=20260401", counted_from="completion"), date(2026, 1, 15)

        assert completed(monthly, State(first, 1, first), date(2026, 3, 2)) is None


# Task: T-323
class TestSkipOne:
    def test_takes_the_next_in_sequence_even_if_it_is_past(self) -> None:
        daily, first = recurrence("FREQ=DAILY;COUNT=2"), date(2026, 3, 7)
        second = skip_one(daily, State(first, 1, first))

        assert second == State(first, 2, date(2026, 3, 8))
        assert skip_one(daily, second) is None

    def test_counts_from_the_due_date_where_the_series_counts_from_completion(self) -> None:
        monthly = recurrence("FREQ=MONTHLY", counted_from="completion")

        after = skip_one(monthly, State(date(2026, 3, 2), 5, date(2026, 4, 2)))

        assert after == State(date(2026, 4, 2), 5, date(2026, 5, 2))


# Task: T-323
class TestUpcoming:
    def test_follows_the_open_occurrence(self) -> None:
        monthly, anchor = recurrence("FREQ=MONTHLY"), date(2026, 1, 31)

        found = list(islice(upcoming(monthly, State(anchor, 2, date(2026, 2, 28))), 2))

        assert found == [(3, date(2026, 3, 31)), (4, date(2026, 4, 30))]

    @pytest.mark.parametrize(("rule", "number"), [("FREQ=WEEKLY", 3), ("FREQ=WEEKLY;COUNT=9", 4)])
    def test_leaves_out_what_a_moved_occurrence_went_past(self, rule: str, number: int) -> None:
        weekly, anchor = recurrence(rule), date(2026, 3, 2)
        state = State(anchor, 2, date(2026, 3, 18), nominal=date(2026, 3, 9))

        assert next(upcoming(weekly, state)) == (number, date(2026, 3, 23))
        assert skip_one(weekly, state) == State(anchor, number, date(2026, 3, 23))

    def test_supposes_that_each_is_completed_on_its_day(self) -> None:
        every_30 = recurrence("FREQ=DAILY;INTERVAL=30;COUNT=4", counted_from="completion")

        found = list(upcoming(every_30, State(date(2026, 3, 1), 2, date(2026, 3, 10))))

        assert found == [(3, date(2026, 4, 9)), (4, date(2026, 5, 9))]


# Task: T-323
class TestShift:
    @pytest.mark.parametrize(
        ("start", "before", "after", "shifted"),
        [
            (date(2026, 1, 29), date(2026, 1, 31), date(2026, 2, 28), date(2026, 2, 26)),
            (datetime(2026, 1, 30, 8), date(2026, 1, 31), date(2026, 2, 28), datetime(2026, 2, 27, 8)),
            (date(2026, 3, 9), datetime(2026, 3, 10, 9), datetime(2026, 3, 11, 17), date(2026, 3, 10)),
            (
                datetime(2026, 3, 10, 8),
                datetime(2026, 3, 10, 9),
                datetime(2026, 3, 11, 17),
                datetime(2026, 3, 11, 16),
            ),
            (datetime(2026, 3, 10, 8), datetime(2026, 3, 10, 9), date(2026, 3, 12), datetime(2026, 3, 12, 8)),
            (datetime(2026, 3, 10, 8), date(2026, 3, 12), datetime(2026, 3, 11, 9), datetime(2026, 3, 9, 8)),
            (date(9999, 12, 1), date(2026, 3, 12), date(2027, 3, 12), date(9999, 12, 31)),
            (datetime(1, 1, 5, 8), datetime(2026, 3, 12), datetime(2026, 1, 12), datetime(1, 1, 1, 8)),
        ],
    )
    def test_moves_a_start_by_the_same_step(self, start: Due, before: Due, after: Due, shifted: Due) -> None:
        assert shift(start, before, after) == shifted
