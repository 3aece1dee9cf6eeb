r"""Search queries, as users type them: ``milk "oat drink" choc* -soy -"low fat"``.

Text is split into words with the same steps that the database applies to tasks: see ``normalize_for_search.sql``.
"""

import re
import unicodedata
from dataclasses import dataclass

MAX_CHARACTERS = 500
MAX_WORDS = 20
# The maximum length of a stored word: the database cuts longer words.
LONGEST = 64

_MARKS = re.compile("[\u0300-\u036f]+")
# Letters that Unicode does not decompose, and the final sigma, which is a second form of sigma.
_LETTERS = str.maketrans({"ς": "σ", "ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ı": "i", "ß": "ss"})  # noqa: RUF001
# Punctuation, symbols, emoji, spaces, and characters that are invisible or cannot be stored.
SEPARATORS = (
    r"\u0000-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00b4\u00b6-\u00bf\u00d7\u00f7\u055a-\u055f\u0589\u058a\u05be\u05c0\u05c3\u05c6"
    r"\u05f3\u05f4\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965\u0e4f\u0e5a\u0e5b\u104a-\u104f\u1361-\u1368"
    r"\u17d4-\u17da\u2000-\u206f\u20a0-\u20cf\u2190-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030\u303d\u30a0"
    r"\u30fb\ufe00-\ufe1f\ufe30-\ufe6f\ufeff\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0-\uffff"
    r"\U0001f000-\U0001faff\U000e0000-\U000e0fff\ud800-\udfff"
)
_SEPARATOR = re.compile(f"[{SEPARATORS}]+")
# Scripts without separators between words: each character counts as a word.
UNSPACED_SCRIPTS = (
    r"\u0e00-\u0e4e\u0e50-\u0e59\u0e81-\u0eff\u1000-\u1049\u1050-\u109f\u1780-\u17d3\u17db-\u17ff\u3005-\u3007"
    r"\u3031-\u303c\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
_SINGLE = re.compile(f"[{UNSPACED_SCRIPTS}]")
# A term: an optional minus, then a text in quotes (the last one may be unclosed), or up to the next space or quote.
_TERM = re.compile(r'(?P<minus>-?)(?:"(?P<quoted>[^"]*)(?:"|$)|(?P<plain>[^\s"]+))')
_TYPOGRAPHIC_CHARACTERS = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "−": "-", "–": "-", "＊": "*"}  # noqa: RUF001
)

_NOTHING = "The search has no words. Give at least one, as in milk or choc*."
_ONLY_NOT = "The search only excludes words. Give at least one word that must occur."
_TOO_LONG = f"The search is too long. Use at most {MAX_CHARACTERS} characters."
_TOO_MANY = f"The search has too many words. Use at most {MAX_WORDS}."


# Task: T-362
@dataclass(frozen=True, slots=True)
class Terms:
    """Words, prefixes of words, and phrases: normalized, without duplicates.

    A phrase is a substring of the result of ``normalize_for_search``. If it does not end with a space, its last word is
    a prefix.
    """

    words: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()


# Task: T-362
@dataclass(frozen=True, slots=True)
class Query:
    """A parsed search: all terms of ``required`` must occur, and none of ``excluded``.

    ``required`` has at least one word or prefix. The words of its phrases are included in them.
    """

    required: Terms
    excluded: Terms


# Task: T-362
def parse(typed: str) -> Query:
    """Parse a search. Raises ValueError, with a message for the user, if it has no required term or is too large.

    A word with punctuation between its letters (``e-mail``, ``3.14``) is a phrase, and so is text in a script without
    spaces. A star is a wildcard only at the end of a term; elsewhere it separates words, like any other punctuation.
    """
    if len(typed) > MAX_CHARACTERS:
        raise ValueError(_TOO_LONG)
    count = 0
    required, excluded = Terms(), Terms()
    for term in _TERM.finditer(typed.translate(_TYPOGRAPHIC_CHARACTERS)):
        text = term["quoted"] if term["plain"] is None else term["plain"]
        words = normalize_for_search(text).split()
        if not words:
            continue
        count += len(words)
        is_prefix = text.rstrip().endswith("*")
        if term["minus"]:
            excluded = _joined(excluded, _excluded(words, is_prefix=is_prefix))
        else:
            required = _joined(required, _required(words, is_prefix=is_prefix))
    if count > MAX_WORDS:
        raise ValueError(_TOO_MANY)
    if not (required.words or required.prefixes):
        raise ValueError(_ONLY_NOT if count else _NOTHING)
    return Query(required, excluded)


# Task: T-362
def normalize_for_search(text: str) -> str:
    """Return the normalized words of ``text`` in order, with a space before and after each: ``" kase holen "``.

    Upper case letters, letters with combining marks, and compatibility forms are replaced with the plain letters.
    """
    if text.isascii():
        folded = text.lower()
    else:
        folded = _MARKS.sub("", unicodedata.normalize("NFKD", text).lower()).translate(_LETTERS)
        folded = _SINGLE.sub(r" \g<0> ", folded)
    return f" {_SEPARATOR.sub(' ', folded)} "


def _required(words: list[str], *, is_prefix: bool) -> Terms:
    """Return the words and prefixes of a term, which an index can find, and the phrase that remains to be checked."""
    plain, beginnings = words, list[str]()
    if is_prefix and len(words[-1]) <= LONGEST:
        plain, beginnings = words[:-1], words[-1:]
    return Terms(
        tuple(word[:LONGEST] for word in plain),
        tuple(beginnings),
        (_phrase(words, is_prefix=is_prefix),) if _is_phrase(words) else (),
    )


def _excluded(words: list[str], *, is_prefix: bool) -> Terms:
    if _is_phrase(words):
        return Terms(phrases=(_phrase(words, is_prefix=is_prefix),))
    return Terms(prefixes=tuple(words)) if is_prefix else Terms(words=tuple(words))


def _is_phrase(words: list[str]) -> bool:
    return len(words) > 1 or len(words[0]) > LONGEST


def _phrase(words: list[str], *, is_prefix: bool) -> str:
    return f" {' '.join(words)}{'' if is_prefix else ' '}"


def _joined(some: Terms, more: Terms) -> Terms:
    return Terms(
        _once(some.words + more.words), _once(some.prefixes + more.prefixes), _once(some.phrases + more.phrases)
    )


def _once(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
