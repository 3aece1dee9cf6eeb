"""Traceability: every mark has an item in a plan, and every ticked item is marked in code and in a test."""

from pathlib import Path

import pytest

from support.repository import ROOT
from support.traceability import faults_of

CODE = "phase2/backend/todo/services/tasks/complete.py"
TEST = "tests/services/tasks/test_complete.py"


def mark(*numbers: str) -> str:
    """Return marks as text, so that this file does not contain the marks of the examples."""
    return "".join(f"# Task: T-{number}\nclass Something: ...\n" for number in numbers)


def tree(root: Path, **files: str) -> Path:
    """Write a small repository. ``plan`` is the tasks.md of 001-foundation, ``code`` and ``test`` have the marks."""
    places = {"plan": "specs/001-foundation/tasks.md", "code": CODE, "test": TEST}
    for name, text in files.items():
        path = root / places.get(name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


# Task: T-005
class TestTheRepository:
    def test_plans_and_marks_of_the_repository_agree(self) -> None:
        assert faults_of(ROOT) == []


PLAN = f"- [X] T001 Complete a task in {CODE}\n"
OPEN_PLAN = f"- [ ] T001 Complete a task in {CODE}\n"
NO_CODE = ["T-001: ticked, but no code is marked"]

# The files of a repository, and the disagreements in it.
REPOSITORIES: dict[str, tuple[dict[str, str], list[str]]] = {
    "ticked item with marks in code and in a test": (
        {"plan": f"# Tasks\n\nSome words.\n\n- [X] T001 [US1] Complete a task in {CODE}\n", "code": mark("001"),
         "test": mark("001")},
        [],
    ),
    "open item with a mark": ({"plan": f"- [ ] T001 [P] Complete a task in {CODE}\n", "code": mark("001")}, []),
    "item that is a test with one mark": (
        {"plan": f"- [X] T001 Try everything in {TEST}\n", "test": mark("001")},
        [],
    ),
    "item with several paths of which the first exists": (
        {"plan": f"- [X] T001 Complete a task in {CODE} and routes/tasks.py\n"
                 "- [ ] T002 Reopen it in a.py, b.py, and c.py\n",
         "code": mark("001"), "test": mark("001")},
        [],
    ),
    "items of the second spec in the second hundred": (
        {"plan": f"- [ ] T099 One thing in {CODE}\n",
         "specs/002-sync/tasks.md": f"- [ ] T101 Another in {CODE}\n"},
        [],
    ),
    "marks without an item": (
        {"plan": OPEN_PLAN, "code": mark("002"), "test": mark("003")},
        ["T-002: marked, but not planned", "T-003: marked, but not planned"],
    ),
    "ticked item without a mark in a test": (
        {"plan": f"- [x] T001 Complete a task in {CODE}\n", "code": mark("001")},
        ["T-001: ticked, but no test is marked"],
    ),
    "ticked item with a mark in tests/support instead of a test": (
        {"plan": PLAN, "code": mark("001"), "tests/support/tasks.py": mark("001")},
        ["T-001: ticked, but no test is marked"],
    ),
    "ticked item without a mark in code": ({"plan": PLAN, "code": "", "test": mark("001")}, NO_CODE),
    "ticked item with a mark inside a line of code": (
        {"plan": PLAN, "code": 'NOTE = "see # Task: T-001"\n', "test": mark("001")},
        NO_CODE,
    ),
    "ticked item with marks in specs and ignored files": (
        {"plan": PLAN, "code": "", "test": mark("001"), "specs/001-foundation/plan.md": mark("001"),
         ".venv/some.py": mark("001"), ".gitignore": ".venv/\n"},
        NO_CODE,
    ),
    "ticked item with a missing path": (
        {"plan": "- [X] T001 Complete a task in phase2/backend/todo/gone.py\n", "code": mark("001"),
         "test": mark("001")},
        ["T-001: ticked, but there is no phase2/backend/todo/gone.py"],
    ),
    "duplicate id": (
        {"plan": f"- [ ] T001 One thing in {CODE}\n- [ ] T001 Another in {CODE}\n"},
        ["T-001: planned 2 times"],
    ),
    **{
        f"id {number} outside the block of its spec": (
            {"plan": f"- [ ] T{number} Complete a task in {CODE}\n"},
            [f"T-{number}: outside the block of 001-foundation"],
        )
        for number in ("100", "101", "000")
    },
    "spec without tasks": ({"plan": OPEN_PLAN, "specs/002-sync/spec.md": "# Sync\n"}, ["002-sync: has no tasks.md"]),
    "no plan": ({}, ["specs: no items"]),
    "plan without items": ({"plan": "# Tasks\n\nTo be planned.\n"}, ["specs: no items"]),
}  # fmt: skip


# Task: T-005
class TestFaultsOf:
    @pytest.mark.parametrize(("files", "faults"), REPOSITORIES.values(), ids=REPOSITORIES)
    def test_disagreements_of_plans_and_marks_are_reported(
        self, tmp_path: Path, files: dict[str, str], faults: list[str]
    ) -> None:
        assert faults_of(tree(tmp_path, **files)) == faults

    @pytest.mark.parametrize(
        ("place", "text"),
        [
            ("Makefile", "# Task: T-001\n"),
            (".ci/run", "#!/bin/sh\n# Task: T-001\n"),
            ("README.md", "<!-- Task: T-001 -->\n"),
            ("phase2/frontend/app/page.tsx", "  // Task: T-001\n"),
            ("phase2/backend/todo/migrations/sql/functions/uid.sql", "-- Task: T-001\n"),
        ],
    )
    def test_marks_are_read_in_every_language(self, tmp_path: Path, place: str, text: str) -> None:
        root = tree(tmp_path, plan=f"- [X] T001 Something in {place}\n", test=mark("001"), **{place: text})

        assert faults_of(root) == []

    @pytest.mark.parametrize(
        "line",
        [
            "- [X] T1 Complete a task in a.py",
            "- [X] Complete a task in a.py",
            "- [X] T001 Complete a task",
            "* [X] T001 Complete a task in a.py",
            "  - [X] T001 Complete a task in a.py",
            "- [o] T001 Complete a task in a.py",
        ],
    )
    def test_unreadable_line_is_reported(self, tmp_path: Path, line: str) -> None:
        root = tree(tmp_path, plan=f"- [ ] T002 Something in {CODE}\n{line}\n")

        [fault] = faults_of(root)

        assert fault.startswith("001-foundation: not of the form")
        assert fault.endswith(line.strip())
