"""Excerpts: a part of a text with the words of a search marked, as HTML."""

import html
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, islice

from todo.kit.queries import Terms, normalize_for_search

MAX_CHARACTERS = 160
# The number of characters before the first match.
_BEFORE = 40

_Span = tuple[int, int]

# Bounds of the work on one text: a page has up to 100 tasks with 10,000 characters each, and one character can fold to
# 18. The second is the size of a text in which each character is a word, as in Chinese.
_MAX_MATCHES = 64
_MAX_FOLDED_CHARACTERS = 30_000
# The number of characters that are searched first.
_BEGINNING = 1_000

# The maximum number of cached characters: more than one text has, and more than most alphabets together.
_MAX_FOLDED = 20_000


class _Folded(dict[str, str]):
    """A cache of normalized characters: a folded letter, a letter with spaces around it, a space, or nothing."""

    def __missing__(self, character: str) -> str:
        if len(self) >= _MAX_FOLDED:
            self.clear()
        # Without the spaces that ``normalize_for_search`` puts before and after any text.
        folded = self[character] = normalize_for_search(character)[1:-1]
        return folded


_folded = _Folded()


# Task: T-363
# Task: T-501
def excerpt(terms: Terms, texts: Sequence[str]) -> str:
    """Return about ``MAX_CHARACTERS`` of the text with the most different matches; of several such texts, the first.

    The result is HTML: each match is between ``<mark>`` and ``</mark>``, and everything else is escaped. An ellipsis
    replaces omitted text. The work is bounded: see ``_spans``.
    """
    best, spans, most = texts[0], list[_Span](), 0
    for text in texts:
        found = _spans(terms, text)
        different = len({text[start:end].lower() for start, end in found})
        if different > most:
            best, spans, most = text, found, different
        if most >= len(terms.words) + len(terms.prefixes):
            break
    start, end = _window(best, spans[0][0] if spans else 0)
    parts = ["…"] if start else []
    for first, last in _merged(spans):
        if first >= start and last <= end:
            parts += [html.escape(best[start:first]), "<mark>", html.escape(best[first:last]), "</mark>"]
            start = last
    parts += [html.escape(best[start:end]), "…" if end < len(best) else ""]
    return "".join(parts)


def _spans(terms: Terms, text: str) -> list[_Span]:
    """Return the start and the end of each match in order, at most ``_MAX_MATCHES``.

    If the beginning of a text that is not ASCII has a match, the rest is not searched.
    """
    if text.isascii():
        matches = _pattern(terms, "[0-9a-z]").finditer(text.lower())
        return [match.span() for match in islice(matches, _MAX_MATCHES)]
    return _spans_in_start(terms, text, _BEGINNING) or _spans_in_start(terms, text, len(text))


def _spans_in_start(terms: Terms, text: str, length: int) -> list[_Span]:
    # Fold each character separately, so that a match can be located in the original text. Folding word by word would
    # cost ten times as much.
    folded = list(map(_folded.__getitem__, text[:length]))
    searched = "".join(folded)[:_MAX_FOLDED_CHARACTERS]
    # A word at the end may go on behind it.
    is_complete = length >= len(text) and len(searched) < _MAX_FOLDED_CHARACTERS
    matches = list(islice(_pattern(terms, "[^ ]").finditer(searched), _MAX_MATCHES))
    ends = list(accumulate(map(len, folded))) if matches else []
    spans: list[_Span] = []
    last = 0
    for match in matches:
        start = bisect_right(ends, match.start())
        # Include the combining marks on the last letter, which fold to nothing.
        end = max(bisect_right(ends, match.end() - 1) + 1, bisect_right(ends, match.end()))
        # One character can fold to two words.
        if start >= last and (is_complete or match.end() < len(searched)):
            spans.append((start, end))
            last = end
    return spans


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
