"""Excerpts: matches are marked, and the text is safe to show in a page."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todo.kit import excerpts
from todo.kit.excerpts import MAX_CHARACTERS, excerpt
from todo.kit.queries import parse


def marked(typed: str, *texts: str) -> str:
    return excerpt(parse(typed).required, texts)


# Task: T-363
class TestExcerpt:
    @pytest.mark.parametrize(
        ("typed", "text", "shown"),
        [
            ("milk", "Buy Milk, milkshake", "Buy <mark>Milk</mark>, milkshake"),
            ("mil*", "Buy milk, Milkshake", "Buy <mark>milk</mark>, <mark>Milkshake</mark>"),
            ("kase", "Käse für KÄSER", "<mark>Käse</mark> für KÄSER"),
            ('"oat drink"', "oat drink", "<mark>oat</mark> <mark>drink</mark>"),
            ("買い", "水を買いに", "水を<mark>買い</mark>に"),
            ("lt", "a < lt", "a &lt; <mark>lt</mark>"),
            ("x", '<b title="x">', "&lt;b title=&quot;<mark>x</mark>&quot;&gt;"),
            ("käse", "milk", "milk"),
            ("cafe", "Un cafe\u0301 noir", "Un <mark>cafe\u0301</mark> noir"),
            ("strasse", "Die Straße", "Die <mark>Straße</mark>"),
            ("1 2", "Noch ½ Käse", "Noch <mark>½</mark> Käse"),
        ],
    )
    def test_excerpt_marks_matches_and_escapes_html(self, typed: str, text: str, shown: str) -> None:
        assert marked(typed, text) == shown

    def test_excerpt_is_taken_from_the_text_with_the_most_matches(self) -> None:
        assert marked("oat milk", "Milk milk", "oat and milk", "oat milk") == "<mark>oat</mark> and <mark>milk</mark>"
        assert marked("milk", "Shop", "home", "Two litres of milk") == "Two litres of <mark>milk</mark>"
        assert marked("milk", "Shop", "", "") == "Shop"

    @pytest.mark.parametrize("filling", ["word ", "Wörter "])
    def test_excerpt_is_cut_around_the_match(self, filling: str) -> None:
        shown = marked("milk", f"{filling * 100}milk {filling * 100}")

        plain = re.sub("</?mark>", "", shown)
        assert "<mark>milk</mark>" in shown
        assert (plain[0], plain[-1]) == ("…", "…")
        assert 100 < len(plain) <= MAX_CHARACTERS + 2
        assert set(plain.strip("…").split()) == {filling.strip(), "milk"}

    def test_excerpt_of_a_text_without_spaces_is_cut_at_the_maximum_length(self) -> None:
        assert marked("milk", "milk" + "." * 1_000) == f"<mark>milk</mark>{'.' * 156}…"

    def test_match_far_behind_the_beginning_is_shown(self) -> None:
        chinese = "".join(map(chr, range(0x4E00, 0x4E00 + 9_000)))

        assert "<mark>milk</mark>" in marked("milk", f"{chinese} milk")

    def test_word_that_goes_on_behind_the_part_searched_first_is_no_match(self) -> None:
        beginning = "ä" + "." * 994 + " milk"

        assert len(beginning) == excerpts._BEGINNING
        assert marked("milk", f"{beginning}shake, milk") == "…milkshake, <mark>milk</mark>"

    # Task: T-501
    def test_search_of_a_text_ends_after_64_matches(self) -> None:
        """Without this bound, a page of such texts kept the event loop busy for six seconds."""
        terms = parse("صلى الله عليه وسلم").required

        assert len(excerpts._spans(terms, "\ufdfa" * 10_000)) <= 64
        assert len(excerpts._spans(parse("a*").required, "ab " * 3_000)) == 64

    # Task: T-501
    def test_characters_behind_30000_folded_characters_are_not_searched(self) -> None:
        """One U+FDFA folds to 18 characters: 10,000 of them would fold to 180,000."""
        assert marked("milk", "\ufdfa" * 1_500 + " milk").count("<mark>") == 1
        assert marked("milk", "\ufdfa" * 2_000 + " milk").count("<mark>") == 0

    @given(st.text(alphabet='ab ä<>&"買.', max_size=400), st.sampled_from(["a", "b*", "ä b", "買"]))
    def test_excerpt_leaves_the_text_unchanged_apart_from_marks(self, text: str, typed: str) -> None:
        shown = marked(typed, text)

        plain = html.unescape(re.sub("</?mark>", "", shown))
        assert plain.removeprefix("…").removesuffix("…") in text
        assert not re.search("<(?!/?mark>)", shown)
