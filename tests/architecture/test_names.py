"""Names: identifiers use the standard terms of the field. The glossary (docs/glossary.md) defines the others."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.repository import ROOT, files_of, text_of

# Retired name -> the term to use. A retired name may come back neither in Python nor in SQL.
RETIRED = {
    "alive": "not_trashed",
    "this_one": "by_id",
    "stands_alone": "is_simple",
    "take_turn": "lock_user_writes",
    "TURN": "LOCK_USER_WRITES",
    "HEAD_HELD": "CURRENT_REVISION_FOR_UPDATE",
    "head_of": "revision_from",
    "together": "execute_many",
    "IN_FRONT": "PREAMBLE",
    "KEEP": "STORE_RESPONSE",
    "kept_answer": "stored_response",
    "RetryKey": "IdempotencyKey",
    "Shares": "PerUserLimiter",
    "give_back": "release",
    "lend_for_long": "grant_extended_lease",
    "wait_for_long": "wait_for_extended_lease",
    "more_time": "extend_deadline",
    "may_take_long": "bulk",
    "LongSessionDep": "BulkSessionDep",
    "give_up": "mark_broken",
    "Identities": "CallerContext",
    "went_silent": "stream_ended",
    "upkeep": "maintenance",
    "Bite": "PruneBatch",
    "PLANNING": "PLANNER_SETTINGS",
    "often_or_seldom": "probe_then_hash",
    "far_from": "probe_limit",
    "meeting": "intersection",
    "standings": "schedule",
    "form_of": "format_due",
    "was_counted": "already_completed_today",
    "follows_owner": "depends_on_user_zone",
    "FAMILIES": "LOAD_SUBTREES",
    "MOST_IN_FAMILIES": "MAX_SUBTREE_ROWS",
    "goes_below": "includes_subtree",
    "seen_by_users": "to_user_error",
    "in_the_way_of_undo": "to_undo_conflict",
    "no_such_place": "unknown_neighbour",
    "contended": "write_contention",
    "unless": "if_none_match",
    "still_holds": "matches",
    "Named": "NamedResource",
    "absent": "UNSET",
    "STORABLE": "NO_NUL",
    "TrueOrFalse": "QueryBool",
    "YesOrNo": "QueryBool",
    "Fault": "FieldError",
    "DatabaseFault": "DatabaseError",
    "Malformed": "BadRequest",
    "NotJson": "UnsupportedMediaType",
    "circle": "parent_cycle",
    "no_room": "position_exhausted",
    "one_too_many": "limit_exceeded",
    "gone_above": "parent_deleted",
    "derived_change": "not_undoable",
    "Dispatch": "TrieRouter",
    "Unsent": "UnsentBytes",
    "Patience": "WriteStallTimer",
    "FAREWELL_SECONDS": "SHUTDOWN_GRACE_SECONDS",
    "in_cycle": "tile_400_years",
    "minds_the_week": "uses_week_start",
    "Leftover": "TaskDisposition",
    "Undone": "UndoResult",
}
# A limit is MAX_… or MIN_…, never MOST_… or LEAST_….
RETIRED_PREFIXES = re.compile(r"_?(MOST|LEAST)_")


def identifiers_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of every identifier in a Python source."""
    for node in ast.walk(ast.parse(source)):
        for field in ("id", "attr", "name", "arg"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                yield getattr(node, "lineno", 0), name


def is_retired(name: str) -> bool:
    """Return whether a name is retired, with or without a leading underscore."""
    return name in RETIRED or name.removeprefix("_") in RETIRED or RETIRED_PREFIXES.match(name) is not None


def retired_in_python(path: Path) -> list[str]:
    place = path.relative_to(ROOT)
    return [
        f"{place}:{line}: {name} -> {RETIRED.get(name.removeprefix('_'), 'MAX_… or MIN_…')}"
        for line, name in identifiers_in(text_of(path))
        if is_retired(name)
    ]


def retired_in_sql(path: Path) -> list[str]:
    place = path.relative_to(ROOT)
    without_comments = re.sub(r"--[^\n]*", "", text_of(path))
    return [f"{place}: {name} -> {RETIRED[name]}" for name in re.findall(r"\w+", without_comments) if name in RETIRED]


# Task: T-441
class TestNames:
    def test_python_identifiers_use_no_retired_name(self) -> None:
        sources = [path for path in files_of(ROOT) if path.suffix == ".py" and path != Path(__file__)]

        assert len(sources) > 100
        assert [found for path in sources for found in retired_in_python(path)] == []

    def test_python_modules_have_no_retired_name(self) -> None:
        sources = [path for path in files_of(ROOT) if path.suffix == ".py"]

        assert [str(path.relative_to(ROOT)) for path in sources if is_retired(path.stem)] == []

    def test_sql_files_use_no_retired_name(self) -> None:
        sources = [path for path in files_of(ROOT) if path.suffix == ".sql"]

        assert len(sources) > 10
        assert [found for path in sources for found in retired_in_sql(path)] == []

    def test_published_schemas_and_error_codes_use_no_retired_name(self) -> None:
        document = yaml.safe_load(text_of(ROOT / "phase2/api-specification.yaml"))
        codes = set(re.findall(r"^\s+code: (\w+)$", text_of(ROOT / "phase2/api-specification.yaml"), re.MULTILINE))

        names = {name for section in document["components"].values() for name in section} | codes

        assert "not_found" in names
        assert {name for name in names if is_retired(name)} == set()

    @pytest.mark.parametrize(
        "source", ["alive = 1", "row.this_one", "def take_turn(): ...", "f(unless=None)", "MOST_ROWS = 1"]
    )
    def test_retired_name_is_found(self, source: str) -> None:
        assert any(is_retired(name) for _, name in identifiers_in(source))
