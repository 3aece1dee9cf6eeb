"""Entity tags: parsed byte for byte and in linear time."""

import time

import pytest

from todo.kit.etags import Condition, etag, strong_condition, weak_condition


# Task: T-121
class TestEtag:
    @pytest.mark.parametrize("revision", [0, 17, 10**18 - 1])
    def test_etag_parses_to_its_own_revision(self, revision: int) -> None:
        assert strong_condition(etag(revision)) == Condition(frozenset([revision]))

    def test_etag_is_strong_and_quoted(self) -> None:
        assert etag(17) == '"17"'


# Task: T-121
class TestCondition:
    @pytest.mark.parametrize(
        ("header", "strong", "weak"),
        [
            ('"17"', {17}, {17}),
            ('W/"17"', set(), {17}),
            ('"1", "2"', {1, 2}, {1, 2}),
            ('"1","2"', {1, 2}, {1, 2}),
            ('"1"\t , W/"2" ,"3"', {1, 3}, {1, 2, 3}),
            # RFC 9110, section 5.6.1.2: a recipient must accept empty list elements.
            (', ,"1",, "2",', {1, 2}, {1, 2}),
            ('""', set(), set()),
            ('"abc", "17"', {17}, {17}),
            ('"a,\\"', set(), set()),
            ('"\xe4"', set(), set()),
            # Not written by this server: a revision has only one representation.
            ('"017"', set(), set()),
            ('"-1"', set(), set()),
            ('"1.0"', set(), set()),
            # A digit of another script, in UTF-8.
            ('"\xd9\xa1"', set(), set()),
            ('"1234567890123456789"', set(), set()),
        ],
    )
    def test_header_lists_the_revisions_of_strong_and_weak_tags(
        self, header: str, strong: set[int], weak: set[int]
    ) -> None:
        assert strong_condition(header) == Condition(frozenset(strong))
        assert weak_condition(header) == Condition(frozenset(weak))

    @pytest.mark.parametrize("header", ["*", " * "])
    def test_asterisk_matches_any_revision(self, header: str) -> None:
        assert strong_condition(header) == weak_condition(header) == Condition(None)
        assert Condition(None).names(17)

    @pytest.mark.parametrize(
        "header",
        [
            "",
            " ",
            ",",
            "17",
            '"17',
            '17"',
            "'17'",
            'w/"17"',
            'W/ "17"',
            '"1" "2"',
            '"1""2"',
            '"1"; "2"',
            '"1", *',
            "*, *",
            '"a b"',
            '"\x7f"',
            '"\n"',
            '"1"\n',
            ", ".join(['"1"'] * 51),
        ],
    )
    def test_malformed_tag_list_is_rejected(self, header: str) -> None:
        with pytest.raises(ValueError, match="Expected an entity tag"):
            strong_condition(header)
        with pytest.raises(ValueError, match="Expected an entity tag"):
            weak_condition(header)

    @pytest.mark.parametrize("filler", [", ", " ,", "\t,\t", ",", " ", '"1", ', '"1",  ,', 'W/"', '"1'])
    def test_hostile_header_is_parsed_in_bounded_cpu_time(self, filler: str) -> None:
        began = time.process_time()

        for end in ("x", '"', "\x00"):
            with pytest.raises(ValueError, match="Expected an entity tag"):
                weak_condition('"1"' + filler * (16_000 // len(filler)) + end)

        assert time.process_time() - began < 2

    def test_condition_matches_only_the_listed_revisions(self) -> None:
        condition = Condition(frozenset([1, 2]))

        assert (condition.names(2), condition.names(3)) == (True, False)
