"""Recurrence rules as text: what is parsed, what is rejected, and the canonical text of each rule."""

import re
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.recurrence_rules import rule_texts
from todo.kit.recurrence import Frequency, Rule, Weekday, parse_rule

quickly = settings(max_examples=300, deadline=None)

TOKENS = (
    "FREQ INTERVAL BYDAY BYMONTH BYMONTHDAY BYSETPOS COUNT UNTIL WKST DAILY WEEKLY MONTHLY YEARLY MO 2 -1 0 ; = , T Z"
)
hostile = st.one_of(
    st.text(max_size=600),
    st.lists(
        st.sampled_from([*TOKENS.split(), "9" * 300, "RRULE:", "\u017f", "\ud800", "\0", "20260310"]), max_size=40
    ).map("".join),
)


# Task: T-321
class TestParseRule:
    def test_parser_reads_every_part_of_a_rule(self) -> None:
        rule = parse_rule(
            "FREQ=YEARLY;INTERVAL=2;BYMONTH=12,3;BYMONTHDAY=-1,15;BYDAY=-1FR,2MO,TU;BYSETPOS=2,-1;COUNT=10"
        )

        assert rule == Rule(
            Frequency.YEARLY,
            interval=2,
            months=(3, 12),
            month_days=(-1, 15),
            weekdays=(Weekday(-1, 4), Weekday(0, 1), Weekday(2, 0)),
            positions=(-1, 2),
            count=10,
        )

    @pytest.mark.parametrize(
        ("text", "until"),
        [
            ("20261231", date(2026, 12, 31)),
            ("20261231T235900", datetime(2026, 12, 31, 23, 59)),  # noqa: DTZ001
            ("20261231T235900Z", datetime(2026, 12, 31, 23, 59, tzinfo=UTC)),
            ("00010101", date(1, 1, 1)),
        ],
    )
    def test_parser_keeps_until_as_date_wall_clock_time_or_instant(self, text: str, until: date) -> None:
        rule = parse_rule(f"FREQ=DAILY;UNTIL={text}")

        assert (rule.until, str(rule)) == (until, f"FREQ=DAILY;UNTIL={text}")

    @pytest.mark.parametrize(
        ("text", "canonical"),
        [
            ("FREQ=DAILY", "FREQ=DAILY"),
            (" rrule:freq=daily ", "FREQ=DAILY"),
            ("INTERVAL=1;FREQ=MONTHLY", "FREQ=MONTHLY"),
            ("FREQ=MONTHLY;INTERVAL=+02", "FREQ=MONTHLY;INTERVAL=2"),
            ("FREQ=MONTHLY;BYDAY=+1mo,1MO", "FREQ=MONTHLY;BYDAY=1MO"),
            ("FREQ=WEEKLY;BYDAY=SU,MO,SU", "FREQ=WEEKLY;BYDAY=MO,SU"),
            ("FREQ=MONTHLY;WKST=SU", "FREQ=MONTHLY"),
            ("FREQ=WEEKLY;BYDAY=TU;WKST=SU", "FREQ=WEEKLY;BYDAY=TU"),
            ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU"),
            ("FREQ=WEEKLY;BYDAY=TU,SU;BYSETPOS=1", "FREQ=WEEKLY;BYDAY=TU,SU;BYSETPOS=1;WKST=MO"),
        ],
    )
    def test_equivalent_rules_have_one_canonical_text(self, text: str, canonical: str) -> None:
        assert str(parse_rule(text)) == canonical

    def test_week_starts_on_the_users_day_unless_the_rule_sets_wkst(self) -> None:
        silent, explicit = "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO"

        starts = [parse_rule(text, week_start=6).week_start for text in (silent, explicit)]

        assert starts == [6, 0]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "A rule is made of FREQ"),
            ("every day", "A rule is made of FREQ"),
            ("FREQ=DAILY;", "A rule is made of FREQ"),
            ("FREQ=DAILY;X=1", "A rule is made of FREQ"),
            ("FREQ=DAILY;X-MINE=1", "A rule is made of FREQ"),
            ("RRULE:RRULE:FREQ=DAILY", "A rule is made of FREQ"),
            ("DTSTART:20260101\nRRULE:FREQ=DAILY", "A rule is made of FREQ"),
            ("INTERVAL=2", "A rule needs FREQ"),
            ("FREQ=", "FREQ is one of"),
            ("FREQ=DAILYISH", "FREQ is one of"),
            ("FREQ=SECONDLY", "SECONDLY is not supported"),
            ("FREQ=MINUTELY", "MINUTELY is not supported"),
            ("FREQ=HOURLY;INTERVAL=24", "HOURLY is not supported"),
            ("FREQ=DAILY;freq=daily", "FREQ is given twice"),
            ("FREQ=DAILY;BYHOUR=9", "BYHOUR is not supported"),
            ("FREQ=DAILY;BYMINUTE=9", "BYMINUTE is not supported"),
            ("FREQ=DAILY;BYSECOND=9", "BYSECOND is not supported"),
            ("FREQ=YEARLY;BYYEARDAY=100", "BYYEARDAY is not supported"),
            ("FREQ=YEARLY;BYWEEKNO=20", "BYWEEKNO is not supported"),
            ("RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=FORWARD", "RSCALE is not supported"),
            *(
                (f"FREQ=DAILY;INTERVAL={number}", "INTERVAL is a whole number from 1 to 1000.")
                for number in ("0", "-1", "1001", "1.0", "", "1e2", "x", "9" * 300)
            ),
            *(
                (f"FREQ=DAILY;COUNT={number}", "COUNT is a whole number from 1 to 1000")
                for number in ("0", "-1", "1001", "1000000000000")
            ),
            *(
                (f"FREQ=MONTHLY;BYMONTHDAY={days}", "BYMONTHDAY lists whole numbers from 1 to 31")
                for days in ("0", "32", "-32", "", "1,", "1 2")
            ),
            *((f"FREQ=YEARLY;BYMONTH={months}", "BYMONTH lists") for months in ("0", "13", "-1", "JAN")),
            *((f"FREQ=MONTHLY;BYDAY=MO;BYSETPOS={places}", "BYSETPOS lists") for places in ("0", "367", "-367")),
            *((f"FREQ=MONTHLY;BYDAY={days}", "BYDAY lists") for days in ("", "0MO", "54MO", "MO,", "MONDAY", "1")),
            ("FREQ=WEEKLY;WKST=1", "WKST is one of"),
            *(
                (f"FREQ=DAILY;UNTIL={until}", "UNTIL is a day that exists")
                for until in ("20260230", "2026-03-10", "20260310T240000", "20260310T0900", "00000101", "20260310Z", "")
            ),
            ("FREQ=DAILY;UNTIL=20260310T096000Z", "UNTIL is a day that exists"),
            ("FREQ=DAILY;COUNT=2;UNTIL=20260310", "COUNT and UNTIL exclude each other"),
            ("FREQ=WEEKLY;BYMONTHDAY=13", "BYMONTHDAY cannot be used with FREQ=WEEKLY"),
            ("FREQ=WEEKLY;BYDAY=1MO", "A number in BYDAY"),
            ("FREQ=DAILY;BYDAY=-1MO", "A number in BYDAY"),
            ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS chooses from a set"),
            ("FREQ=\u017fECONDLY", "A rule is written in plain letters"),
            ("FREQ=DAILY;INTERVAL=\u0662", "A rule is written in plain letters"),
            ("FREQ=DAILY;BYMONTH=" + ",".join("1" * 300), "A rule has at most 500 characters"),
        ],
    )
    def test_invalid_rules_are_rejected_with_a_specific_message(self, text: str, said: str) -> None:
        with pytest.raises(ValueError, match="^" + re.escape(said)):
            parse_rule(text)

    @pytest.mark.parametrize(
        "text",
        [
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
            "FREQ=MONTHLY;BYMONTH=4,6,9,11;BYMONTHDAY=31",
            "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=-30,31",
            "FREQ=MONTHLY;BYDAY=6MO",
            "FREQ=YEARLY;BYMONTH=2;BYDAY=6MO",
            "FREQ=MONTHLY;BYMONTHDAY=8;BYDAY=1MO",
            "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6",
            "FREQ=MONTHLY;BYMONTH=3;BYSETPOS=2",
            "FREQ=YEARLY;BYMONTH=1,2;BYSETPOS=3",
            "FREQ=WEEKLY;BYDAY=MO,TU;BYSETPOS=-3",
            "FREQ=WEEKLY;BYMONTH=2;BYSETPOS=2",
            "FREQ=DAILY;BYMONTH=2;BYSETPOS=2",
        ],
    )
    def test_rules_that_never_occur_are_rejected(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"^This rule never occurs\."):
            parse_rule(text)

    @pytest.mark.parametrize(
        "text",
        [
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO",
            "FREQ=MONTHLY;BYMONTH=2;BYDAY=5MO",
            "FREQ=YEARLY;BYDAY=53MO",
            "FREQ=YEARLY;BYMONTH=1,2;BYSETPOS=2",
            "FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=366",
            "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1",
            "FREQ=DAILY;BYDAY=MO,TU;BYSETPOS=-1",
        ],
    )
    def test_rules_that_rarely_occur_are_accepted(self, text: str) -> None:
        assert str(parse_rule(text)).startswith("FREQ=")

    @quickly
    @given(rule_texts())
    def test_canonical_text_parses_to_the_same_rule_for_any_week_start(self, text: str) -> None:
        rule = parse_rule(text, week_start=6)

        canonical = str(rule)

        assert parse_rule(canonical, week_start=2) == rule
        assert str(parse_rule(canonical.lower())) == canonical

    @quickly
    @given(hostile)
    def test_hostile_input_raises_only_value_errors_that_do_not_repeat_the_input(self, text: str) -> None:
        try:
            said = str(parse_rule(text))
        except ValueError as error:
            said = str(error)

        assert said.isascii()
        assert len(said) <= 500
        assert said.startswith("FREQ=") or said.endswith(".")
