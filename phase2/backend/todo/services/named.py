"""What a user has by name, each name once: categories and views. Their writers wait for each other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from sqlalchemy import Table, Text, bindparam, select

from todo.database import DatabaseFault, OwnedByCaller, Row, Session, Statement
from todo.errors import Conflict
from todo.kit.etags import Condition
from todo.services.creation import MOST_ATTEMPTS, contended, created, stale
from todo.services.revisions import TURN, expected


def _is_as_named(if_match: Condition, current: Row) -> bool:
    return if_match.names(current["revision"])


@dataclass(frozen=True)
class Named:
    """A kind of such things, as users call it. Statements on one take its ``this_id``.

    ``read`` brings one as it is answered; where a write misses it, a deleted account is told apart. ``refusal`` says
    what else than its name can be wrong with one, and ``still_holds`` whether ``If-Match`` names one as it is.
    """

    kind: str
    table: Table
    read: Statement
    read_with_digest: Statement
    refusal: Callable[[DatabaseFault], Conflict | None]
    still_holds: Callable[[Condition, Row], bool] = _is_as_named

    async def create(
        self,
        session: Session,
        statement: Statement,
        values: Mapping[str, Any],
        *,
        chosen_id: UUID | None,
        unless: Condition | None,
    ) -> tuple[Row, bool]:
        """Create one, and return it, and whether it is new: see ``todo.services.creation``.

        Raises Conflict for a name that is taken, too.
        """
        return await created(
            self.kind,
            chosen_id,
            values["creation_digest"],
            create=lambda: self._run(session, [statement], values),
            look=lambda: session.first(self.read_with_digest, this_id=values["this_id"]),
            unless=unless,
        )

    async def write(
        self,
        session: Session,
        statements: Sequence[Statement],
        values: Mapping[str, Any],
        *,
        if_match: Condition | None,
    ) -> Row:
        """Run statements on one and return the row of the last of them.

        Raises NotFound if there is no such one, PreconditionFailed if it is not as ``if_match`` says, and Conflict for
        a name that is taken.
        """
        conditions = expected(if_match)
        for _ in range(MOST_ATTEMPTS):
            row = await self._run(session, statements, {**values, **conditions})
            if row is not None:
                return row
            # They passed over it, or there is none. Look which; if it changed in between, try again.
            current = await session.one(self.read, this_id=values["this_id"])
            if if_match is not None and not self.still_holds(if_match, current):
                raise stale(current)
        raise contended(self.kind)

    async def _run(self, session: Session, statements: Sequence[Statement], values: Mapping[str, Any]) -> Row | None:
        """Run statements when the user's other writers are done, so that they see and count what those left.

        Returns the row of the last of them; ``None`` also if there was a namesake that is gone by now.
        """
        try:
            *_, rows = await session.together((TURN, {}), *((statement, values) for statement in statements))
        except DatabaseFault as fault:
            if fault.constraint != self._uniqueness:
                raise self.as_conflict(fault) or fault from None
            namesake = await session.first(self._namesake, name_key=values["name_key"])
            if namesake is None:
                return None
            raise Conflict(
                f"Another {self.kind} of yours has this name; see conflicting_id. Choose another name.",
                code="name_taken",
                conflicting_id=namesake["id"],
            ) from None
        return rows[0] if rows else None

    def as_conflict(self, fault: DatabaseFault) -> Conflict | None:
        """Return what to tell the user if one cannot be as a write would have it, else ``None``."""
        if fault.constraint == self._uniqueness:
            sentence = f"Another {self.kind} of yours has this name by now. Rename that one first."
            return Conflict(sentence, code="name_taken")
        return self.refusal(fault)

    @cached_property
    def _uniqueness(self) -> str:
        return f"uq_{self.table.name}_user_id_name_key"

    @cached_property
    def _namesake(self) -> Statement:
        own, key = OwnedByCaller(self.table), self.table.c.name_key
        return Statement(select(self.table.c.id).where(own, key == bindparam("name_key", type_=Text)))
