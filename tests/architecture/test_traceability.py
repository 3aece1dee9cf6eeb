"""Plans and code in step: every mark is planned, every ticked item is marked in code and in a test."""

from pathlib import Path

import pytest

from support.repository import ROOT
from support.traceability import faults_of

CODE = "phase2/backend/todo/services/tasks/complete.py"
TEST = "tests/services/tasks/test_complete.py"


def mark(*numbers: str) -> str:
    """Write marks. Made here, so that this file does not hold those of the made-up trees."""
    return "".join(f"# Task: T-{number}\nclass Something: ...\n" for number in numbers)


def tree(root: Path, **files: str) -> Path:
    """Write a small repository: ``plan`` is the tasks.md of 001-foundation, the others go where they belong."""
    places = {"plan": "specs/001-foundation/tasks.md", "code": CODE, "test": TEST}
    for name, text in files.items():
        path = root / places.get(name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


# Task: T-005
class TestTheRepository:
    def test_has_its_plans_and_its_code_in_step(self) -> None:
        assert faults_of(ROOT) == []


# Task: T-005
class TestFaultsOf:
    def test_finds_none_where_a_ticked_item_is_marked_in_code_and_in_a_test(self, tmp_path: Path) -> None:
        plan = f"# Tasks\n\nSome words.\n\n- [X] T001 [US1] Complete a task in {CODE}\n"

        root = tree(tmp_path, plan=plan, code=mark("001"), test=mark("001"))

        assert faults_of(root) == []

    def test_lets_work_begin_before_the_item_is_ticked(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [ ] T001 [P] Complete a task in {CODE}\n", code=mark("001"))

        assert faults_of(root) == []

    def test_takes_one_mark_for_an_item_that_is_a_test_itself(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [X] T001 Try everything in {TEST}\n", test=mark("001"))

        assert faults_of(root) == []

    def test_looks_for_the_first_of_several_paths(self, tmp_path: Path) -> None:
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
    def test_reads_the_marks_of_every_language(self, tmp_path: Path, place: str, text: str) -> None:
        root = tree(tmp_path, plan=f"- [X] T001 Something in {place}\n", test=mark("001"), **{place: text})

        assert faults_of(root) == []

    def test_reports_a_mark_that_nobody_planned(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [ ] T001 Complete a task in {CODE}\n", code=mark("002"), test=mark("003"))

        assert faults_of(root) == ["T-002: marked, but not planned", "T-003: marked, but not planned"]

    def test_reports_a_ticked_item_without_a_mark_in_a_test(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [x] T001 Complete a task in {CODE}\n", code=mark("001"))

        assert faults_of(root) == ["T-001: ticked, but no test is marked"]

    def test_does_not_take_a_mark_in_the_tests_support_for_one_in_a_test(self, tmp_path: Path) -> None:
        plan = f"- [x] T001 Complete a task in {CODE}\n"

        root = tree(tmp_path, plan=plan, code=mark("001"), **{"tests/support/tasks.py": mark("001")})

        assert faults_of(root) == ["T-001: ticked, but no test is marked"]

    def test_reports_a_ticked_item_without_a_mark_in_code(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [X] T001 Complete a task in {CODE}\n", code="", test=mark("001"))

        assert faults_of(root) == ["T-001: ticked, but no code is marked"]

    def test_does_not_count_words_about_a_mark(self, tmp_path: Path) -> None:
        words = 'NOTE = "see # Task: T-001"\n'

        root = tree(tmp_path, plan=f"- [X] T001 Complete a task in {CODE}\n", code=words, test=mark("001"))

        assert faults_of(root) == ["T-001: ticked, but no code is marked"]

    def test_does_not_count_marks_in_specs_or_in_what_git_ignores(self, tmp_path: Path) -> None:
        plan = f"- [X] T001 Complete a task in {CODE}\n"
        strays = {"specs/001-foundation/plan.md": mark("001"), ".venv/some.py": mark("001"), ".gitignore": ".venv/\n"}

        root = tree(tmp_path, plan=plan, code="", test=mark("001"), **strays)

        assert faults_of(root) == ["T-001: ticked, but no code is marked"]

    def test_reports_a_ticked_item_whose_path_does_not_exist(self, tmp_path: Path) -> None:
        plan = "- [X] T001 Complete a task in phase2/backend/todo/gone.py\n"

        root = tree(tmp_path, plan=plan, code=mark("001"), test=mark("001"))

        assert faults_of(root) == ["T-001: ticked, but there is no phase2/backend/todo/gone.py"]

    def test_reports_an_id_that_stands_twice(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [ ] T001 One thing in {CODE}\n- [ ] T001 Another in {CODE}\n")

        assert faults_of(root) == ["T-001: planned 2 times"]

    @pytest.mark.parametrize("number", ["100", "101", "000"])
    def test_reports_an_id_outside_of_its_specs_block(self, tmp_path: Path, number: str) -> None:
        root = tree(tmp_path, plan=f"- [ ] T{number} Complete a task in {CODE}\n")

        assert faults_of(root) == [f"T-{number}: outside the block of 001-foundation"]

    def test_gives_the_second_spec_the_second_hundred(self, tmp_path: Path) -> None:
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
    def test_reports_a_line_that_it_cannot_read(self, tmp_path: Path, line: str) -> None:
        root = tree(tmp_path, plan=f"- [ ] T002 Something in {CODE}\n{line}\n")

        [fault] = faults_of(root)

        assert fault.startswith("001-foundation: not of the form")
        assert fault.endswith(line.strip())

    def test_reports_a_spec_without_a_plan(self, tmp_path: Path) -> None:
        root = tree(tmp_path, plan=f"- [ ] T001 Something in {CODE}\n", **{"specs/002-sync/spec.md": "# Sync\n"})

        assert faults_of(root) == ["002-sync: has no tasks.md"]

    @pytest.mark.parametrize("files", [{}, {"plan": "# Tasks\n\nTo be planned.\n"}])
    def test_does_not_pass_by_finding_nothing(self, tmp_path: Path, files: dict[str, str]) -> None:
        assert faults_of(tree(tmp_path, **files)) == ["specs: nothing is planned"]
