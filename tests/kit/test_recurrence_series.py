"""Steps through a series: cases from bugs of other products, one named test each."""

# ruff: noqa: DTZ001  Times are naive: they are local to the task.

from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any

import pytest

from todo.kit.recurrence import (
    LocalDue,
    Recurrence,
    State,
    advance,
    first_match,
    occurrences,
    parse_rule,
    shift,
    skip_occurrence,
    upcoming,
)


def recurrence(text: str, **settings: Any) -> Recurrence:
    return Recurrence(parse_rule(text), **settings)


def first_occurrences(text: str, anchor: LocalDue, number: int = 6, **settings: Any) -> list[str]:
    found = islice(occurrences(recurrence(text, **settings), anchor), number)
    return [due.isoformat() for _, due in found]


def completed(how: Recurrence, state: State, on: LocalDue) -> State | None:
    """Complete the open occurrence at this time, or at noon of this day."""
    now = on if isinstance(on, datetime) else datetime.combine(on, time(12))
    return advance(how, state, completed=now, today=now.date())


def due_dates_after_completions(how: Recurrence, first: LocalDue, times: int) -> list[str]:
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
    def test_monthly_series_returns_to_the_31st_after_short_months(self) -> None:
        assert first_occurrences("FREQ=MONTHLY;BYMONTHDAY=31", date(2026, 1, 31), 5) == [
            *("2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31")
        ]

    def test_month_end_skip_leaves_out_months_without_a_31st(self) -> None:
        assert first_occurrences("FREQ=MONTHLY;BYMONTHDAY=31", date(2022, 1, 31), 4, month_end="skip") == [
            *("2022-01-31", "2022-03-31", "2022-05-31", "2022-07-31")
        ]

    def test_two_days_clamped_to_the_same_day_yield_one_occurrence(self) -> None:
        assert first_occurrences("FREQ=MONTHLY;BYMONTHDAY=30,31", date(2026, 1, 30), 5) == [
            *("2026-01-30", "2026-01-31", "2026-02-28", "2026-03-30", "2026-03-31")
        ]

    def test_negative_month_days_are_not_clamped(self) -> None:
        assert first_occurrences("FREQ=MONTHLY;BYMONTHDAY=-31", date(2026, 1, 1), 3) == [
            "2026-01-01",
            "2026-03-01",
            "2026-05-01",
        ]

    def test_month_day_minus_one_falls_on_the_last_day_of_each_month(self) -> None:
        assert first_occurrences("FREQ=MONTHLY;BYMONTHDAY=-1", date(2023, 12, 31), 4, month_end="skip") == [
            *("2023-12-31", "2024-01-31", "2024-02-29", "2024-03-31")
        ]

    def test_by_set_pos_selects_the_last_working_day_of_each_month(self) -> None:
        assert first_occurrences("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", date(2026, 1, 30), 3) == [
            *("2026-01-30", "2026-02-27", "2026-03-31")
        ]

    def test_month_days_are_clamped_before_weekdays_are_matched(self) -> None:
        assert first_occurrences("FREQ=MONTHLY;BYMONTHDAY=31;BYDAY=SA", date(2026, 1, 31), 3) == [
            *("2026-01-31", "2026-02-28", "2026-10-31")
        ]

    @pytest.mark.parametrize(
        ("start", "dues"),
        [
            ("MO", ["1997-08-05", "1997-08-10", "1997-08-19", "1997-08-24"]),
            ("SU", ["1997-08-05", "1997-08-17", "1997-08-19", "1997-08-31"]),
        ],
    )
    def test_week_start_decides_which_weeks_a_biweekly_rule_selects(self, start: str, dues: list[str]) -> None:
        assert first_occurrences(f"FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST={start}", date(1997, 8, 5), 4) == dues

    def test_occurrences_keep_the_time_of_day(self) -> None:
        assert first_occurrences("FREQ=DAILY", datetime(2026, 3, 28, 2, 30), 3) == [
            *("2026-03-28T02:30:00", "2026-03-29T02:30:00", "2026-03-30T02:30:00")
        ]

    def test_occurrences_after_a_given_date_are_found_however_old_the_anchor_is(self) -> None:
        found = occurrences(recurrence("FREQ=MONTHLY"), date(1, 1, 31), after=date(9998, 12, 31), number=7)

        assert list(islice(found, 2)) == [(8, date(9999, 1, 31)), (9, date(9999, 2, 28))]

    def test_occurrences_end_with_the_year_9999(self) -> None:
        assert first_occurrences("FREQ=DAILY;INTERVAL=30", date(9999, 11, 20)) == ["9999-11-20", "9999-12-20"]
        assert (
            list(occurrences(recurrence("FREQ=DAILY;INTERVAL=30"), date(9999, 12, 20), after=date(9999, 12, 25))) == []
        )
        assert first_occurrences("FREQ=WEEKLY;BYDAY=MO,SU", date(9999, 12, 27)) == ["9999-12-27"]
        assert first_occurrences("FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=31", date(9999, 12, 31)) == ["9999-12-31"]

    def test_series_can_begin_in_the_week_before_the_first_calendar_date(self) -> None:
        assert first_occurrences("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SA;BYMONTH=1;WKST=SU", date(1, 1, 1), 2) == [
            *("0001-01-01", "0001-01-06")
        ]

    def test_occurrences_end_when_count_is_used_up(self) -> None:
        assert first_occurrences("FREQ=DAILY;COUNT=2", date(2026, 1, 1)) == ["2026-01-01", "2026-01-02"]

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
    def test_occurrences_end_at_until_given_as_date_wall_clock_time_or_instant(
        self, until: str, anchor: LocalDue, number: int
    ) -> None:
        assert len(first_occurrences(f"FREQ=DAILY;UNTIL={until}", anchor)) == number


# Task: T-322
class TestFirstMatch:
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
    def test_first_match_is_the_earliest_due_date_that_fits_the_rule(
        self, text: str, due: LocalDue, fits: LocalDue | None
    ) -> None:
        assert first_match(recurrence(text), due) == fits

    def test_first_match_respects_the_month_end_option(self) -> None:
        only_february = "FREQ=YEARLY;BYMONTH=2"

        fits = [first_match(recurrence(only_february, month_end=end), date(2026, 3, 30)) for end in ("clamp", "skip")]

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
    def test_completion_advances_to_the_next_occurrence_counted_from_the_anchor(
        self, text: str, first: str, dues: list[str]
    ) -> None:
        assert due_dates_after_completions(recurrence(text), date.fromisoformat(first), 4) == dues

    def test_completion_skips_months_without_the_day_if_month_end_is_skip(self) -> None:
        monthly = recurrence("FREQ=MONTHLY;BYMONTHDAY=31", month_end="skip")
        yearly = recurrence("FREQ=YEARLY", month_end="skip")

        assert due_dates_after_completions(monthly, date(2022, 1, 31), 3) == ["2022-03-31", "2022-05-31", "2022-07-31"]
        assert due_dates_after_completions(yearly, date(2096, 2, 29), 1) == ["2104-02-29"]

    def test_completion_after_three_missed_days_leaves_one_open_occurrence(self) -> None:
        daily, state = recurrence("FREQ=DAILY"), State(date(2026, 3, 7), 1, date(2026, 3, 7))

        assert completed(daily, state, date(2026, 3, 10)) == State(date(2026, 3, 7), 2, date(2026, 3, 11))

    def test_completion_advances_one_missed_day_at_a_time_if_missed_is_keep(self) -> None:
        daily, state = recurrence("FREQ=DAILY", missed="keep"), State(date(2026, 3, 7), 1, date(2026, 3, 7))

        assert completed(daily, state, date(2026, 3, 10)) == State(date(2026, 3, 7), 2, date(2026, 3, 8))

    def test_missed_occurrences_use_up_count(self) -> None:
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
    def test_missed_occurrences_of_four_centuries_use_up_the_exact_count(self, text: str, missed: int) -> None:
        how = recurrence(f"{text};COUNT=1000", month_end="skip")
        first = first_match(how, date(2001, 1, 1))
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
    def test_completion_advances_to_the_first_time_of_day_in_the_future(self, now: datetime, due: datetime) -> None:
        first = datetime(2026, 3, 7, 9)

        assert completed(recurrence("FREQ=DAILY"), State(first, 1, first), now) == State(first, 2, due)

    def test_completion_of_an_all_day_task_uses_the_users_day(self) -> None:
        first = date(2026, 3, 9)

        # 01:30; the user's day starts at 04:00.
        after = advance(
            recurrence("FREQ=DAILY"),
            State(first, 1, first),
            completed=datetime(2026, 3, 10, 1, 30),
            today=date(2026, 3, 9),
        )

        assert after == State(first, 2, date(2026, 3, 10))

    def test_early_completion_advances_past_the_due_date(self) -> None:
        due = date(2026, 3, 31)

        after = completed(recurrence("FREQ=MONTHLY"), State(date(2026, 1, 31), 3, due), date(2026, 3, 1))

        assert after == State(date(2026, 1, 31), 4, date(2026, 4, 30))

    def test_weekly_completions_advance_one_week_each(self) -> None:
        weekly = recurrence("FREQ=WEEKLY;BYDAY=TU")

        assert due_dates_after_completions(weekly, date(2026, 3, 10), 3) == ["2026-03-17", "2026-03-24", "2026-03-31"]

    def test_completion_of_a_moved_occurrence_continues_from_its_nominal_date(self) -> None:
        weekly, anchor = recurrence("FREQ=WEEKLY;BYDAY=MO"), date(2026, 3, 2)
        earlier = State(anchor, 2, date(2026, 3, 7), nominal=date(2026, 3, 9))
        later = State(anchor, 2, date(2026, 3, 11), nominal=date(2026, 3, 9))
        past_the_next = State(anchor, 2, date(2026, 3, 18), nominal=date(2026, 3, 9))

        after = [completed(weekly, state, state.due) for state in (earlier, later, past_the_next)]

        assert after == [State(anchor, 3, date(2026, 3, day)) for day in (16, 16, 23)]

    def test_count_includes_occurrences_that_a_moved_occurrence_passed(self) -> None:
        weekly, anchor = recurrence("FREQ=WEEKLY;BYDAY=MO;COUNT=4"), date(2026, 3, 2)
        state = State(anchor, 2, date(2026, 3, 18), nominal=date(2026, 3, 9))

        assert completed(weekly, state, state.due) == State(anchor, 4, date(2026, 3, 23))

    def test_completion_of_a_moved_occurrence_restores_the_time_of_the_series(self) -> None:
        daily, anchor = recurrence("FREQ=DAILY"), datetime(2026, 3, 10, 9)
        moved = State(anchor, 1, datetime(2026, 3, 10, 17), nominal=anchor)
        moved_to_a_day = State(anchor, 1, date(2026, 3, 10), nominal=anchor)

        after = [completed(daily, state, datetime(2026, 3, 10, 18)) for state in (moved, moved_to_a_day)]

        assert after == [State(anchor, 2, datetime(2026, 3, 11, 9))] * 2


# Task: T-323
class TestAdvanceFromCompletion:
    def test_next_due_date_is_counted_from_the_day_of_completion(self) -> None:
        every_30, first = recurrence("FREQ=DAILY;INTERVAL=30", counted_from="completion"), datetime(2026, 3, 1, 9)

        after = completed(every_30, State(first, 1, first), datetime(2026, 3, 10, 22))

        assert after == State(datetime(2026, 3, 10, 9), 2, datetime(2026, 4, 9, 9))

    def test_completion_always_advances_past_the_due_date(self) -> None:
        every_30, first = recurrence("FREQ=DAILY;INTERVAL=30", counted_from="completion"), date(2026, 3, 10)
        once = completed(every_30, State(first, 1, first), first)
        assert once is not None

        twice = completed(every_30, once, first)

        assert (once.due, twice) == (date(2026, 4, 9), State(first, 3, date(2026, 5, 9)))

    def test_count_includes_completions_only(self) -> None:
        thrice, first = recurrence("FREQ=DAILY;COUNT=3", counted_from="completion"), date(2026, 3, 1)
        second = completed(thrice, State(first, 1, first), date(2026, 3, 20))
        assert second == State(date(2026, 3, 20), 2, date(2026, 3, 21))
        assert skip_occurrence(thrice, second) == State(date(2026, 3, 21), 2, date(2026, 3, 22))

        third = completed(thrice, second, date(2026, 4, 1))

        assert third == State(date(2026, 4, 1), 3, date(2026, 4, 2))
        assert completed(thrice, third, date(2026, 4, 2)) is None

    def test_next_due_date_is_clamped_to_the_end_of_the_following_month(self) -> None:
        monthly, first = recurrence("FREQ=MONTHLY", counted_from="completion"), date(2026, 1, 15)

        after = completed(monthly, State(first, 1, first), date(2026, 1, 31))

        assert after == State(date(2026, 1, 31), 2, date(2026, 2, 28))

    def test_next_due_date_falls_on_a_weekday_of_the_rule(self) -> None:
        mondays, first = recurrence("FREQ=WEEKLY;BYDAY=MO", counted_from="completion"), date(2026, 3, 2)

        after = completed(mondays, State(first, 1, first), date(2026, 3, 11))

        assert after == State(date(2026, 3, 11), 2, date(2026, 3, 16))

    def test_completing_or_skipping_a_moved_occurrence_restores_the_time_of_the_series(self) -> None:
        daily, anchor = recurrence("FREQ=DAILY", counted_from="completion"), datetime(2026, 3, 1, 9)
        moved = State(anchor, 2, datetime(2026, 3, 3, 17), nominal=datetime(2026, 3, 2, 9))

        after = [completed(daily, moved, datetime(2026, 3, 5, 8)), skip_occurrence(daily, moved)]

        assert after == [
            State(datetime(2026, 3, 5, 9), 3, datetime(2026, 3, 6, 9)),
            State(datetime(2026, 3, 3, 9), 2, datetime(2026, 3, 4, 9)),
        ]

    def test_series_ends_with_until(self) -> None:
        monthly, first = recurrence("FREQ=MONTHLY;UNTIL=20260401", counted_from="completion"), date(2026, 1, 15)

        assert completed(monthly, State(first, 1, first), date(2026, 3, 2)) is None


# Task: T-323
class TestSkipOne:
    def test_skip_advances_to_the_next_occurrence_even_if_it_is_in_the_past(self) -> None:
        daily, first = recurrence("FREQ=DAILY;COUNT=2"), date(2026, 3, 7)
        second = skip_occurrence(daily, State(first, 1, first))

        assert second == State(first, 2, date(2026, 3, 8))
        assert skip_occurrence(daily, second) is None

    def test_skip_counts_from_the_due_date_if_the_series_counts_from_completion(self) -> None:
        monthly = recurrence("FREQ=MONTHLY", counted_from="completion")

        after = skip_occurrence(monthly, State(date(2026, 3, 2), 5, date(2026, 4, 2)))

        assert after == State(date(2026, 4, 2), 5, date(2026, 5, 2))


# Task: T-323
class TestUpcoming:
    def test_upcoming_occurrences_begin_after_the_open_occurrence(self) -> None:
        monthly, anchor = recurrence("FREQ=MONTHLY"), date(2026, 1, 31)

        found = list(islice(upcoming(monthly, State(anchor, 2, date(2026, 2, 28))), 2))

        assert found == [(3, date(2026, 3, 31)), (4, date(2026, 4, 30))]

    @pytest.mark.parametrize(("rule", "number"), [("FREQ=WEEKLY", 3), ("FREQ=WEEKLY;COUNT=9", 4)])
    def test_upcoming_occurrences_omit_those_that_a_moved_occurrence_passed(self, rule: str, number: int) -> None:
        weekly, anchor = recurrence(rule), date(2026, 3, 2)
        state = State(anchor, 2, date(2026, 3, 18), nominal=date(2026, 3, 9))

        assert next(upcoming(weekly, state)) == (number, date(2026, 3, 23))
        assert skip_occurrence(weekly, state) == State(anchor, number, date(2026, 3, 23))

    def test_upcoming_occurrences_assume_completion_on_each_due_date(self) -> None:
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
    def test_start_date_moves_by_the_same_interval_as_the_due_date(
        self, start: LocalDue, before: LocalDue, after: LocalDue, shifted: LocalDue
    ) -> None:
        assert shift(start, before, after) == shifted
