"""Excerpts: matches are marked, and the text is safe to show in a page."""

import html
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

    def test_excerpts_of_100_long_texts_take_less_than_two_seconds_of_cpu_time(self) -> None:
        longest = "".join(map(chr, range(0x4E00, 0x4E00 + 10_000)))
        started = time.process_time()

        shown = [marked("丅", f"{number}", longest) for number in range(100)]

        assert set(shown) == {f"{longest[:5]}<mark>丅</mark>{longest[6:MAX_CHARACTERS]}…"}
        assert time.process_time() - started < 2

    @given(st.text(alphabet='ab ä<>&"買.', max_size=400), st.sampled_from(["a", "b*", "ä b", "買"]))
    def test_excerpt_leaves_the_text_unchanged_apart_from_marks(self, text: str, typed: str) -> None:
        shown = marked(typed, text)

        plain = html.unescape(re.sub("</?mark>", "", shown))
        assert plain.removeprefix("…").removesuffix("…") in text
        assert not re.search("<(?!/?mark>)", shown)
