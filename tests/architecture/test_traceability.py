"""Traceability: every mark has an item in a plan, and every ticked item is marked in code and in a test."""

from pathlib import Path

import pytest

from support.repository import ROOT
from support.traceability import faults_of

CODE = "phase2/backend/todo/services/tasks/single.py"
TEST = "tests/services/tasks/test_single.py"


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


# Task: T-005
class TestFaultsOf:
    def test_ticked_item_with_marks_in_code_and_in_a_test_is_valid(self, tmp_path: Path) -> None:
        plan = f"# Tasks\n\nSome words.\n\n- [X] T001 [US1] Complete a task in {CODE}\n"

        root = tree(tmp_path, plan=plan, code=mark("001"), test=mark("001"))

        assert faults_of(root) == []

    def test_marks_of_an_open_item_are_valid(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [ ] T001 [P] Complete a task in {CODE}\n", code=mark("001"))

        assert faults_of(root) == []

    def test_item_that_is_a_test_needs_one_mark(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [X] T001 Try everything in {TEST}\n", test=mark("001"))

        assert faults_of(root) == []

    def test_first_of_several_paths_must_exist(self, tmp_path: Path) -> None:
        plan = (
            f"- [X] T001 Complete a task in {CODE} and routes/tasks.py\n- [ ] T002 Reopen it in a.py, b.py, and c.py\n"
        )

        root = tree(tmp_path, plan=plan, code=mark("001"), test=mark("001"))

        assert faults_of(root) == []

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

    def test_mark_without_an_item_is_reported(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [ ] T001 Complete a task in {CODE}\n", code=mark("002"), test=mark("003"))

        assert faults_of(root) == ["T-002: marked, but not planned", "T-003: marked, but not planned"]

    def test_ticked_item_without_a_mark_in_a_test_is_reported(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [x] T001 Complete a task in {CODE}\n", code=mark("001"))

        assert faults_of(root) == ["T-001: ticked, but no test is marked"]

    def test_mark_in_tests_support_does_not_count_as_a_test(self, tmp_path: Path) -> None:
        plan = f"- [x] T001 Complete a task in {CODE}\n"

        root = tree(tmp_path, plan=plan, code=mark("001"), **{"tests/support/tasks.py": mark("001")})

        assert faults_of(root) == ["T-001: ticked, but no test is marked"]

    def test_ticked_item_without_a_mark_in_code_is_reported(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [X] T001 Complete a task in {CODE}\n", code="", test=mark("001"))

        assert faults_of(root) == ["T-001: ticked, but no code is marked"]

    def test_mark_inside_a_line_of_code_does_not_count(self, tmp_path: Path) -> None:
        words = 'NOTE = "see # Task: T-001"\n'

        root = tree(tmp_path, plan=f"- [X] T001 Complete a task in {CODE}\n", code=words, test=mark("001"))

        assert faults_of(root) == ["T-001: ticked, but no code is marked"]

    def test_marks_in_specs_and_ignored_files_do_not_count(self, tmp_path: Path) -> None:
        plan = f"- [X] T001 Complete a task in {CODE}\n"
        strays = {"specs/001-foundation/plan.md": mark("001"), ".venv/some.py": mark("001"), ".gitignore": ".venv/\n"}

        root = tree(tmp_path, plan=plan, code="", test=mark("001"), **strays)

        assert faults_of(root) == ["T-001: ticked, but no code is marked"]

    def test_ticked_item_with_a_missing_path_is_reported(self, tmp_path: Path) -> None:
        plan = "- [X] T001 Complete a task in phase2/backend/todo/gone.py\n"

        root = tree(tmp_path, plan=plan, code=mark("001"), test=mark("001"))

        assert faults_of(root) == ["T-001: ticked, but there is no phase2/backend/todo/gone.py"]

    def test_duplicate_id_is_reported(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [ ] T001 One thing in {CODE}\n- [ ] T001 Another in {CODE}\n")

        assert faults_of(root) == ["T-001: planned 2 times"]

    @pytest.mark.parametrize("number", ["100", "101", "000"])
    def test_id_outside_the_block_of_its_spec_is_reported(self, tmp_path: Path, number: str) -> None:
        root = tree(tmp_path, plan=f"- [ ] T{number} Complete a task in {CODE}\n")

        assert faults_of(root) == [f"T-{number}: outside the block of 001-foundation"]

    def test_second_spec_owns_the_second_hundred(self, tmp_path: Path) -> None:
        first, second = f"- [ ] T099 One thing in {CODE}\n", f"- [ ] T101 Another in {CODE}\n"

        root = tree(tmp_path, plan=first, **{"specs/002-sync/tasks.md": second})

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

    def test_spec_without_tasks_is_reported(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [ ] T001 Something in {CODE}\n", **{"specs/002-sync/spec.md": "# Sync\n"})

        assert faults_of(root) == ["002-sync: has no tasks.md"]

    @pytest.mark.parametrize("files", [{}, {"plan": "# Tasks\n\nTo be planned.\n"}])
    def test_repository_without_items_is_reported(self, tmp_path: Path, files: dict[str, str]) -> None:
        assert faults_of(tree(tmp_path, **files)) == ["specs: no items"]
