"""Resources with a unique name per user: categories and views. Writers of one user wait for each other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from sqlalchemy import Text, bindparam, select
from sqlmodel import SQLModel

from todo.database import DatabaseError, OwnedByCaller, Row, Session, Statement
from todo.errors import Conflict
from todo.kit.etags import Condition
from todo.models.base import table_of
from todo.services.idempotent_create import MAX_ATTEMPTS, create_once, precondition_failed, write_contention
from todo.services.revisions import LOCK_USER_WRITES, expected_revisions


def _revision_matches(if_match: Condition, current: Row) -> bool:
    return if_match.names(current["revision"])


@dataclass(frozen=True)
class NamedResource:
    """A kind of resource; ``kind`` is its name for users. Statements on one resource have the parameter ``this_id``.

    ``read`` returns a resource as in responses. If there is no row, a deleted account is Forbidden, not NotFound.
    ``to_conflict`` maps violations that do not concern the name, and ``matches`` evaluates ``If-Match``.
    """

    kind: str
    model: type[SQLModel]
    read: Statement
    read_with_digest: Statement
    to_conflict: Callable[[DatabaseError], Conflict | None]
    matches: Callable[[Condition, Row], bool] = _revision_matches

    async def create(
        self,
        session: Session,
        statement: Statement,
        values: Mapping[str, Any],
        *,
        chosen_id: UUID | None,
        if_none_match: Condition | None,
    ) -> tuple[Row, bool]:
        """Create a resource. Return it, and whether it is new: see ``todo.services.idempotent_create``.

        Also raises Conflict for a taken name.
        """
        return await create_once(
            self.kind,
            chosen_id,
            values["creation_digest"],
            create=lambda: self._run(session, [statement], values),
            look=lambda: session.fetch_first(self.read_with_digest, this_id=values["this_id"]),
            if_none_match=if_none_match,
        )

    async def write(
        self,
        session: Session,
        statements: Sequence[Statement],
        values: Mapping[str, Any],
        *,
        if_match: Condition | None,
    ) -> Row:
        """Run statements on one resource, and return the row of the last statement.

        Raises NotFound if the resource does not exist, PreconditionFailed if it does not match ``if_match``, and
        Conflict for a taken name.
        """
        conditions = expected_revisions(if_match)
        for _ in range(MAX_ATTEMPTS):
            row = await self._run(session, statements, {**values, **conditions})
            if row is not None:
                return row
            # The condition did not match, or the resource does not exist. Find out which; if neither, try again.
            current = await session.fetch_one(self.read, this_id=values["this_id"])
            if if_match is not None and not self.matches(if_match, current):
                raise precondition_failed(current)
        raise write_contention(self.kind)

    async def _run(self, session: Session, statements: Sequence[Statement], values: Mapping[str, Any]) -> Row | None:
        """Run statements under the user write lock, so that they see and count the results of earlier writers.

        Returns the row of the last statement; ``None`` if there is no row, or if the resource with the same name was
        deleted in between. Raises Conflict for a taken name.
        """
        try:
            *_, rows = await session.execute_many(
                (LOCK_USER_WRITES, {}), *((statement, values) for statement in statements)
            )
        except DatabaseError as error:
            if error.constraint != self._uniqueness:
                raise self.as_conflict(error) or error from None
            namesake = await session.fetch_first(self._find_by_name, name_key=values["name_key"])
            if namesake is None:
                return None
            raise Conflict(
                f"Another {self.kind} of yours has this name; see conflicting_id. Choose another name.",
                code="name_taken",
                conflicting_id=namesake["id"],
            ) from None
        return rows[0] if rows else None

    def as_conflict(self, error: DatabaseError) -> Conflict | None:
        """Return the error that the user sees for a violation; ``None`` if it is a defect of the application."""
        if error.constraint == self._uniqueness:
            sentence = f"Another {self.kind} of yours has this name by now. Rename that one first."
            return Conflict(sentence, code="name_taken")
        return self.to_conflict(error)

    @cached_property
    def _uniqueness(self) -> str:
        return f"uq_{self.model.__tablename__}_user_id_name_key"

    @cached_property
    def _find_by_name(self) -> Statement:
        columns = table_of(self.model).c
        own, key = OwnedByCaller(self.model), columns.name_key
        return Statement(select(columns.id).where(own, key == bindparam("name_key", type_=Text)))
