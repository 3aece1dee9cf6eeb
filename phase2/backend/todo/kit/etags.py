"""Entity tags and conditions on them (RFC 9110, sections 8.8.3 and 13.1). A tag is a revision: ``"17"``."""

import re
from dataclasses import dataclass

_TAG = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
# All quantifiers are possessive: white space between commas would otherwise cause exponential backtracking.
_LIST = re.compile(rf"[ \t,]*+{_TAG}(?:[ \t]*+,[ \t]*+(?:{_TAG})?+)*+")
_REVISION = re.compile(r"0|[1-9][0-9]{0,17}")
_MAX_TAGS = 50


# Task: T-121
def etag(revision: int) -> str:
    """Return the strong entity tag of a revision."""
    return f'"{revision}"'


# Task: T-121
@dataclass(frozen=True, slots=True)
class Condition:
    """The value of ``If-Match`` or ``If-None-Match``: a set of revisions, or ``None`` for ``*`` (any state)."""

    revisions: frozenset[int] | None

    def names(self, revision: int) -> bool:
        """Return whether the condition names this revision."""
        return self.revisions is None or revision in self.revisions


def strong_condition(header: str) -> Condition:
    """Parse ``If-Match``. Its comparison is strong: a weak tag matches nothing. Raises ValueError."""
    return _condition(header, weak_too=False)


def weak_condition(header: str) -> Condition:
    """Parse ``If-None-Match``. Its comparison is weak: ``W/"17"`` also matches 17. Raises ValueError."""
    return _condition(header, weak_too=True)


def _condition(header: str, *, weak_too: bool) -> Condition:
    if header.strip() == "*":
        return Condition(None)
    tags = re.findall(_TAG, header)
    if not _LIST.fullmatch(header) or len(tags) > _MAX_TAGS:
        raise ValueError('Expected an entity tag as in "17", a list of them, or *.')
    # A tag that is not a revision in canonical form was never sent by this server, and matches nothing.
    own = (tag for weak, tag in tags if (weak_too or not weak) and _REVISION.fullmatch(tag))
    return Condition(frozenset(map(int, own)))
