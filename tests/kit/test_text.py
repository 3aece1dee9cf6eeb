"""Text, folded for comparison."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todo.kit.text import fold_case


# Task: T-331
class TestFolded:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("Work", "wORK"),
            ("Straße", "STRASSE"),
            ("Caf\u00e9", "CAFE\u0301"),
            ("\u212b", "\u00e5"),
            ("ΟΔΟΣ", "οδος"),
            # A letter with one mark below and one above, in either order.
            ("s\u0323\u0307", "S\u0307\u0323"),
            ("\u1e9b\u0323", "\u1e69"),
        ],
    )
    def test_equivalent_texts_fold_to_the_same_text(self, one: str, other: str) -> None:
        assert fold_case(one) == fold_case(other)

    @pytest.mark.parametrize(
        ("one", "other"), [("Cafe", "Café"), ("1", "\u00b9"), ("a b", "ab"), ("ae", "æ"), ("", " ")]
    )
    def test_different_texts_fold_to_different_texts(self, one: str, other: str) -> None:
        assert fold_case(one) != fold_case(other)

    @given(st.text())
    def test_folding_is_idempotent(self, text: str) -> None:
        assert fold_case(fold_case(text)) == fold_case(text)
