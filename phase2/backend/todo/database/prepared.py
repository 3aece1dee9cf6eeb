"""Prepared statements: which of them a connection may execute by name, directly and through a pooler.

A name is a hash of the statement's text (``CompiledText.name``). Two clients of ours cannot have different statements
with the same name, and no other client uses such names. So it is safe to execute a statement that another client
prepared.

A probe at the start of each connection finds out which of these it is:

* A direct connection, or a pooler that keeps track of what each of its clients has prepared (PgBouncer 1.21 and newer
  with ``max_prepared_statements``): the names belong to this connection.
* A pooler that passes names through to the server connection that the transaction gets (PgBouncer before 1.21): the
  names belong to the server connections, which all clients share. See ``SharedNames``.
* Anything else: nothing is prepared.
"""

import logging

from todo.database.statements import CompiledText, raw

log = logging.getLogger(__name__)

# A connection prepares this many statements; it sends further ones without a name. Bounds the server's memory.
_MAX_PREPARED = 200

PROBE_PREFIX = b"todo_probe_"
# Executed under a name that is new each time. ``passes``: the server has it under that name. ``tracks``: it has the
# statement under a name that the pooler made.
PROBE = raw(
    "SELECT pg_catalog.pg_backend_pid()::pg_catalog.text AS process_id,"
    " pg_catalog.bool_or(name OPERATOR(pg_catalog.=) $1) AS passes,"
    " pg_catalog.bool_or(pg_catalog.strpos(statement, 'prepared statement of the todo probe') OPERATOR(pg_catalog.>) 0)"
    " AS tracks FROM pg_catalog.pg_prepared_statements"
)


# Task: T-412
class OwnNames:
    """The statements that a connection has prepared for itself, on the server or in the pooler."""

    # Whether other clients execute what is prepared here, and may close it.
    are_shared = False

    def __init__(self, *, most: int = _MAX_PREPARED) -> None:
        self._most = most
        self.known: set[bytes] = set()

    def may_prepare(self, name: bytes) -> bool:
        """Return whether a statement may be prepared, again or for the first time."""
        return name in self.known or len(self.known) < self._most

    def add(self, name: bytes) -> None:
        """Note that a statement has been prepared."""
        if self.may_prepare(name):
            self.known.add(name)

    def note_executed(self) -> None:
        """Note that the server had every statement that a round trip executed by name."""

    def note_refused(self, text: CompiledText) -> None:
        """Note that the server refused to execute a statement by name. It is prepared again, if it may be."""
        self.known.discard(text.name)


# Task: T-412
class TrackedNames(OwnNames):
    """The statements that a pooler tracks for this connection.

    If a refused statement were prepared again, the pooler would map it to the same refused one. So the connection sends
    it without a name from then on, for the hour that a connection lives.
    """

    def __init__(self) -> None:
        super().__init__()
        self._refused: set[bytes] = set()

    def may_prepare(self, name: bytes) -> bool:
        return name not in self._refused and super().may_prepare(name)

    def note_refused(self, text: CompiledText) -> None:
        super().note_refused(text)
        self._refused.add(text.name)


# Task: T-412
class SharedNames(OwnNames):
    """The statements that some server connection behind a pooler has. Shared by all connections of this process.

    A connection executes them by name, although its next transaction may get another server connection. If that one
    lacks a statement, it refuses before executing it, and the round trip is repeated with all statements prepared
    again: at most once for each statement and server connection.

    A statement is prepared only after the identity, so it is parsed with the identity's search path, role and time
    zone.
    """

    are_shared = True
    # A pooler may remove the statements of a server connection after each transaction (``server_reset_query_always``).
    # Then every round trip is refused and repeated. ``_missed`` is the share of such round trips, as a moving average
    # over about ``_WINDOW`` of them. Other poolers lack the identity only once per server connection.
    _WINDOW = 1_000
    _MAX_MISSED = 0.5

    def __init__(self) -> None:
        super().__init__()
        self._missed = 0.0

    def note_executed(self) -> None:
        self._missed -= self._missed / self._WINDOW

    def note_refused(self, text: CompiledText) -> None:
        """Keep the name: other server connections have the statement, and this one gets it."""
        if not text.is_identity:
            return
        self._missed += (1 - self._missed) / self._WINDOW
        if self._missed > self._MAX_MISSED:
            log.warning("The pooler's server connections lose prepared statements: no more are prepared.")
            self._most = 0
            self.known.clear()


def no_names() -> OwnNames:
    """Return names for an unknown kind of pooler: nothing is prepared."""
    return OwnNames(most=0)
