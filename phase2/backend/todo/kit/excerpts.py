"""Excerpts: a part of a text with the words of a search marked, as HTML."""

import html
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from todo.kit.queries import Terms, normalize_for_search

MAX_CHARACTERS = 160
# The number of characters before the first match.
_BEFORE = 40

_Span = tuple[int, int]

# The maximum number of cached characters: more than one text has, and more than most alphabets together.
_MAX_FOLDED = 20_000


class _Folded(dict[str, str]):
    """A cache of normalized characters: a folded letter, a letter with spaces around it, a space, or nothing."""

    def __missing__(self, character: str) -> str:
        if len(self) >= _MAX_FOLDED:
            self.clear()
        # Without the spaces that ``normalize_for_search`` puts before and after any text.
        fold_case = self[character] = normalize_for_search(character)[1:-1]
        return fold_case


_folded = _Folded()


# Task: T-363
def excerpt(terms: Terms, texts: Sequence[str]) -> str:
    """Return about ``MAX_CHARACTERS`` of the text with the most different matches; of several such texts, the first.

    The result is HTML: each match is between ``<mark>`` and ``</mark>``, and everything else is escaped. An ellipsis
    replaces omitted text.
    """
    found = [(text, list(_spans(terms, text))) for text in texts]
    text, spans = max(found, key=lambda each: len({each[0][start:end].lower() for start, end in each[1]}))
    start, end = _window(text, spans[0][0] if spans else 0)
    parts = ["…"] if start else []
    for first, last in _merged(spans):
        if first >= start and last <= end:
            parts += [html.escape(text[start:first]), "<mark>", html.escape(text[first:last]), "</mark>"]
            start = last
    parts += [html.escape(text[start:end]), "…" if end < len(text) else ""]
    return "".join(parts)


def _spans(terms: Terms, text: str) -> Iterator[_Span]:
    """Yield the start and the end of each match."""
    if text.isascii():
        yield from (match.span() for match in _pattern(terms, "[0-9a-z]").finditer(text.lower()))
        return
    # Fold each character separately, so that a match can be located in the original text. Folding word by word would
    # cost ten times as much.
    fold_case = list(map(_folded.__getitem__, text))
    matches = list(_pattern(terms, "[^ ]").finditer("".join(fold_case)))
    ends = list(accumulate(map(len, fold_case))) if matches else []
    last = 0
    for match in matches:
        start = bisect_right(ends, match.start())
        # Include the combining marks on the last letter, which fold to nothing.
        end = max(bisect_right(ends, match.end() - 1) + 1, bisect_right(ends, match.end()))
        # One character can fold to two words.
        if start >= last:
            yield start, end
            last = end


@lru_cache(maxsize=256)
def _pattern(terms: Terms, letter: str) -> re.Pattern[str]:
    """Return a pattern that matches the terms as whole words; ``letter`` is the class of characters in words."""
    words = [re.escape(word) for word in terms.words] + [f"{re.escape(each)}{letter}*" for each in terms.prefixes]
    return re.compile(f"(?<!{letter})(?:{'|'.join(words)})(?!{letter})")


def _window(text: str, first: int) -> _Span:
    """Return the part of the text to show, cut between words if possible."""
    if len(text) <= MAX_CHARACTERS:
        return 0, len(text)
    start = max(0, min(first - _BEFORE, len(text) - MAX_CHARACTERS))
    if start:
        space = text.find(" ", start, first)
        start = start if space < 0 else space + 1
    end = min(len(text), start + MAX_CHARACTERS)
    if end < len(text):
        space = text.rfind(" ", first, end)
        end = end if space <= first else space
    return start, end


def _merged(spans: list[_Span]) -> Iterator[_Span]:
    """Yield the spans, with adjacent ones merged."""
    waiting: _Span | None = None
    for start, end in spans:
        if waiting is not None and waiting[1] == start:
            waiting = waiting[0], end
            continue
        if waiting is not None:
            yield waiting
        waiting = start, end
    if waiting is not None:
        yield waiting
