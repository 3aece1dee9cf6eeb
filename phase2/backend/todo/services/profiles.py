"""Profiles: read and change the settings of the caller. A user without a row has the defaults."""

from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    DateTime,
    Text,
    and_,
    any_,
    bindparam,
    false,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from todo.database import DatabaseError, OwnedByCaller, Row, Session, SqlState, Statement
from todo.errors import Conflict, FieldError, Invalid, PreconditionFailed
from todo.kit.etags import Condition
from todo.kit.zones import ZONE_EXPECTED
from todo.models.base import columns_of
from todo.models.profiles import PROFILE_ID, Profile, ProfileBase, ProfilePublic, ProfileUpdate
from todo.services.revisions import expected_revisions, is_conditional

PUBLIC_NAMES = tuple(ProfilePublic.model_fields)
_SETTINGS: dict[str, Any] = ProfileBase().model_dump(mode="json")
_DEFAULTS: Row = {**_SETTINGS, "revision": 0}
_SHOWN = columns_of(Profile, _DEFAULTS)
_MAX_ATTEMPTS = 3

_own = select(*_SHOWN).where(OwnedByCaller(Profile))
_now = bindparam("now", type_=DateTime(timezone=True))
_wanted = any_(bindparam("revisions", type_=ARRAY(BigInteger)))

_READ = Statement(_own)


# Task: T-302
async def read(session: Session) -> Row:
    """Return the caller's settings and their revision: the defaults and 0 for a user who never changed them."""
    return await session.fetch_first(_READ) or _DEFAULTS


# Task: T-302
async def change(session: Session, body: ProfileUpdate, *, now: datetime, if_match: Condition | None = None) -> Row:
    """Set only the fields that were sent, at ``now`` (aware, UTC).

    The first setting that differs from its default inserts the row. Raises PreconditionFailed if the profile does not
    match ``if_match``, and Invalid for a zone that Python knows and PostgreSQL does not.
    """
    sent = {name: getattr(body, name) for name in _SETTINGS if name in body.model_fields_set}
    conditional = is_conditional(if_match)
    statement = _change_statement(tuple(sent), conditional=conditional)
    conditions = expected_revisions(if_match)
    for _ in range(_MAX_ATTEMPTS):
        row = await _write(session, statement, {**sent, **conditions, "now": now})
        if row is not None:
            return row
        # The condition did not match, or there is no row and none is needed. Find out which. If the row was inserted in
        # between, try again.
        current = await read(session)
        if if_match is not None and not if_match.names(current["revision"]):
            raise PreconditionFailed(current=current, revision=current["revision"])
        if current is _DEFAULTS:
            await session.ensure_caller_exists()
            return current
    raise Conflict("Others are changing your profile at the same moment. Try again.")


async def _write(session: Session, statement: Statement, values: dict[str, Any]) -> Row | None:
    try:
        return await session.fetch_first(statement, **values)
    except DatabaseError as error:
        if error.sqlstate == SqlState.invalid_parameter_value:
            raise Invalid(FieldError("/time_zone", ZONE_EXPECTED)) from None
        raise


@cache
def _change_statement(names: tuple[str, ...], *, conditional: bool) -> Statement:
    """Return the statement that inserts the row with the settings ``names``, or updates them in the existing row."""
    sent: dict[str, ColumnElement[Any]] = {name: bindparam(name, type_=Text) for name in names}
    new = {
        "user_id": bindparam("user_id", type_=Text),
        "id": literal(PROFILE_ID, Text),
        **{name: sent.get(name, literal(default, Text)) for name, default in _SETTINGS.items()},
        "updated_at": _now,
        "revision": literal(0),
    }
    # Without a row, the defaults apply at revision 0. Setting only defaults, or nothing, is no change.
    differs = or_(false(), *(value != _SETTINGS[name] for name, value in sent.items()))
    may_begin = and_(differs, literal(0) == _wanted) if conditional else differs
    statement = insert(Profile).from_select(list(new), select(*new.values()).where(or_(_own.exists(), may_begin)))
    return Statement(
        statement.on_conflict_do_update(
            index_elements=[col(Profile.user_id), col(Profile.id)],
            # Never decrease it: machine clocks differ. If no value differs, the log trigger leaves the row unchanged.
            set_={**sent, "updated_at": func.greatest(Profile.updated_at, _now)},
            where=col(Profile.revision) == _wanted if conditional else None,
        ).returning(*_SHOWN)
    )
