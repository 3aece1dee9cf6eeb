"""Search queries as the user typed them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todo.kit.queries import Query, Terms, normalize_for_search, parse


# Task: T-362
class TestParse:
    @pytest.mark.parametrize(
        ("typed", "required"),
        [
            ("milk", Terms(words=("milk",))),
            ("  Milk,\tOAT  milk ", Terms(words=("milk", "oat"))),
            ("mil*", Terms(prefixes=("mil",))),
            ("Käse* Straße", Terms(words=("strasse",), prefixes=("kase",))),
            ('"Oat drink"', Terms(words=("oat", "drink"), phrases=(" oat drink ",))),
            ("“oat drink”", Terms(words=("oat", "drink"), phrases=(" oat drink ",))),
            ('"oat dri*"', Terms(words=("oat",), prefixes=("dri",), phrases=(" oat dri",))),
            ('"milk"', Terms(words=("milk",))),
            ('"oat drink', Terms(words=("oat", "drink"), phrases=(" oat drink ",))),
            ("e-mail 3.14", Terms(words=("e", "mail", "3", "14"), phrases=(" e mail ", " 3 14 "))),
            ("買い", Terms(words=("買", "い"), phrases=(" 買 い ",))),
            ("milk * - -- !", Terms(words=("milk",))),
            ("*milk mi*lk", Terms(words=("milk", "mi", "lk"), phrases=(" mi lk ",))),
            ("a" * 70, Terms(words=("a" * 64,), phrases=(f" {'a' * 70} ",))),
            ("a" * 64 + "*", Terms(prefixes=("a" * 64,))),
            ("a" * 65 + "*", Terms(words=("a" * 64,), phrases=(f" {'a' * 65}",))),
        ],
    )
    def test_parser_extracts_required_words_prefixes_and_phrases(self, typed: str, required: Terms) -> None:
        assert parse(typed) == Query(required, Terms())

    @pytest.mark.parametrize(
        ("typed", "excluded"),
        [
            ("milk -soy", Terms(words=("soy",))),
            ("-SOY milk", Terms(words=("soy",))),
            ("milk \u2212soy*", Terms(prefixes=("soy",))),
            ('milk -"low fat"', Terms(phrases=(" low fat ",))),
            ("milk -e-mail", Terms(phrases=(" e mail ",))),
            ("milk -" + "a" * 65, Terms(phrases=(f" {'a' * 65} ",))),
        ],
    )
    def test_parser_extracts_excluded_words_prefixes_and_phrases(self, typed: str, excluded: Terms) -> None:
        assert parse(typed) == Query(Terms(words=("milk",)), excluded)

    @pytest.mark.parametrize("typed", ["", "   ", "*", '""', '"', "-", "?!", "🎉", "\x00", "\ud800"])
    def test_query_without_words_is_rejected(self, typed: str) -> None:
        with pytest.raises(ValueError, match=r"^The search has no words\. Give at least one, as in milk or choc\*\.$"):
            parse(typed)

    @pytest.mark.parametrize("typed", ["-milk", '-"low fat" -soy*'])
    def test_query_with_only_excluded_terms_is_rejected(self, typed: str) -> None:
        with pytest.raises(ValueError, match=r"^The search only excludes words\. "):
            parse(typed)

    def test_query_longer_than_500_characters_is_rejected(self) -> None:
        assert parse("m" * 500).required.words == ("m" * 64,)

        with pytest.raises(ValueError, match=r"^The search is too long\. Use at most 500 characters\.$"):
            parse("m" * 501)

    @pytest.mark.parametrize("separator", [" ", " -", ".", "* "])
    def test_query_with_more_than_20_words_is_rejected(self, separator: str) -> None:
        parse(separator.join("abcdefghijklmnopqrst"))

        with pytest.raises(ValueError, match=r"^The search has too many words\. Use at most 20\.$"):
            parse(separator.join("abcdefghijklmnopqrstu"))

    @given(st.text(max_size=60) | st.text(alphabet="ab -\"*\\%_'\u2019&|!():<>", max_size=60))
    def test_parsed_words_are_normalized_for_any_input(self, typed: str) -> None:
        try:
            query = parse(typed)
        except ValueError:
            return

        assert query.required.words or query.required.prefixes
        for terms in (query.required, query.excluded):
            for word in (*terms.words, *terms.prefixes):
                assert normalize_for_search(word).split() == [word]


# Task: T-362
class TestSearchable:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("Buy milk!", "buy milk"),
            ("Crème brûlée", "creme brulee"),
            ("Cre\u0300me", "creme"),
            ("ŁÓDŹ Øre İstanbul \u0131l\u0131k", "lodz ore istanbul ilik"),
            ("ΟΔΟΣ οδός", "οδοσ οδοσ"),
            ("Ёлка", "елка"),
            ("\uff21\uff22\uff23 ﬁn x²", "abc fin x2"),
            ("don\u2019t…stop", "don t stop"),
            ("party🎉time", "party time"),
            ("今日は", "今 日 は"),
            ("a_b%c\\d", "a b c d"),
        ],
    )
    def test_text_is_folded_into_lower_case_words_without_accents(self, text: str, words: str) -> None:
        assert normalize_for_search(text).split() == words.split()
