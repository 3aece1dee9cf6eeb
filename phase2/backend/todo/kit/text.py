"""Text as people compare it."""

import unicodedata


# Task: T-331
def folded(text: str) -> str:
    """Return ``text`` so that what differs by case, or by how accents are written, is the same.

    Unicode's canonical caseless matching (The Unicode Standard, section 3.13, D145), in the composed form.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())
