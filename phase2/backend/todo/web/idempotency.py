"""``Idempotency-Key``: the client's name for a request that it may have to send again."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from todo.database import IdempotencyKey
from todo.errors import FieldError, Invalid
from todo.web.validation import pointer

IDEMPOTENCY_HEADER = "idempotency-key"
METHODS_WITH_IDEMPOTENCY_KEY = frozenset({"POST", "PATCH"})

_NAME = IDEMPOTENCY_HEADER.encode()
_ACCEPTABLE = re.compile(rb"[\x20-\x7e]{1,255}")


# Task: T-131
def idempotency_key_of(scope: Mapping[str, Any], content: bytes) -> IdempotencyKey | None:
    """Return the request's key and digest; ``None`` if it has no key. Raises Invalid for a malformed or second key."""
    keys = [value for name, value in scope["headers"] if name == _NAME]
    if not keys:
        return None
    if len(keys) > 1 or not _ACCEPTABLE.fullmatch(keys[0]):
        raise Invalid(
            FieldError(
                pointer("header", IDEMPOTENCY_HEADER), "Expected one key of 1 to 255 printable ASCII characters."
            )
        )
    digest = hashlib.blake2b(digest_size=16)
    for part in (scope["method"].encode(), scope["path"].encode(), scope["query_string"], content):
        # The length in front of each part keeps two different requests from giving the same bytes.
        digest.update(len(part).to_bytes(8, "big") + part)
    return IdempotencyKey(keys[0].decode("ascii"), digest.digest())
