"""Entity tags and the conditions on them (RFC 9110, sections 8.8.3 and 13.1). Ours are revisions: ``"17"``."""

import re

_LIST = re.compile(r'\s*,*\s*(?:(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*(?:,\s*|$))+')
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')

ANY = "*"
"""The condition that any existing state meets."""


# Task: T-121
def etag(revision: int) -> str:
    """Return the strong entity tag of a revision."""
    return f'"{revision}"'


# Task: T-121
def revisions_in(header: str, *, strong: bool) -> frozenset[int]:
    """Return the revisions that a list of entity tags names; other tags match nothing and are left out.

    ``strong`` leaves out weak tags too, as ``If-Match`` compares. Raises ValueError if it is no list of tags.
    """
    if not _LIST.fullmatch(header):
        raise ValueError("Expected entity tags, as in \"17\" or \"17\", \"18\", or *.")
    tags = (tag for weak, tag in _TAG.findall(header) if not (strong and weak))
    return frozenset(int(tag) for tag in tags if tag.isascii() and tag.isdecimal() and len(tag) < 19)
