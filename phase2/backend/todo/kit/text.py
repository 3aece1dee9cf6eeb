"""Comparison of text as people expect it."""

import unicodedata


# Task: T-331
def fold_case(text: str) -> str:
    """Return a key that is equal for texts that differ only in case, or in the encoding of accents.

    Unicode's canonical caseless matching (The Unicode Standard, section 3.13, D145), in the composed form.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())
