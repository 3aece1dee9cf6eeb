"""Excerpts: what was found, marked, and safe to be shown in a page."""

import html
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todo.kit.excerpts import MOST_CHARACTERS, excerpt
from todo.kit.queries import parse


def marked(typed: str, *texts: str) -> str:
    return excerpt(parse(typed).wanted, texts)


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
    def test_marks_what_was_found(self, typed: str, text: str, shown: str) -> None:
        assert marked(typed, text) == shown

    def test_is_of_the_text_that_has_the_most(self) -> None:
        assert marked("oat milk", "Milk milk", "oat and milk", "oat milk") == "<mark>oat</mark> and <mark>milk</mark>"
        assert marked("milk", "Shop", "home", "Two litres of milk") == "Two litres of <mark>milk</mark>"
        assert marked("milk", "Shop", "", "") == "Shop"

    @pytest.mark.parametrize("filling", ["word ", "Wörter "])
    def test_is_cut_around_what_was_found(self, filling: str) -> None:
        shown = marked("milk", f"{filling * 100}milk {filling * 100}")

        plain = re.sub("</?mark>", "", shown)
        assert "<mark>milk</mark>" in shown
        assert (plain[0], plain[-1]) == ("…", "…")
        assert 100 < len(plain) <= MOST_CHARACTERS + 2
        assert set(plain.strip("…").split()) == {filling.strip(), "milk"}

    def test_is_cut_where_there_are_no_spaces(self) -> None:
        assert marked("milk", "milk" + "." * 1_000) == f"<mark>milk</mark>{'.' * 156}…"

    def test_of_a_hundred_long_texts_in_any_script_is_made_in_less_than_two_seconds(self) -> None:
        longest = "".join(map(chr, range(0x4E00, 0x4E00 + 10_000)))
        started = time.process_time()

        shown = [marked("丅", f"{number}", longest) for number in range(100)]

        assert set(shown) == {f"{longest[:5]}<mark>丅</mark>{longest[6:MOST_CHARACTERS]}…"}
        assert time.process_time() - started < 2

    @given(st.text(alphabet='ab ä<>&"買.', max_size=400), st.sampled_from(["a", "b*", "ä b", "買"]))
    def test_leaves_the_text_as_it_is(self, text: str, typed: str) -> None:
        shown = marked(typed, text)

        plain = html.unescape(re.sub("</?mark>", "", shown))
        assert plain.removeprefix("…").removesuffix("…") in text
        assert not re.search("<(?!/?mark>)", shown)
