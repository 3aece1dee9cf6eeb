"""Task IDs: check that the items of ``specs/*/tasks.md`` and the marks in the code agree.

A mark is a comment on its own line in the syntax of the file's language, such as ``Task: T-014`` after a ``#``. It
stands above the code that fulfils the item and above a test of it. An item whose path is in ``tests/`` is itself a
test: one mark there is enough.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.repository import files_of, text_of

BLOCK = 100

_PATH = r"[\w./-]*[\w/]"
_ITEM = re.compile(
    r"- \[(?P<box>[ xX])\] T(?P<number>\d{3,})(?: \[P\])?(?: \[US\d+\])? \S.*"
    rf" in (?P<path>{_PATH})(?:(?:,| and|, and) {_PATH})*"
)
_MARK = re.compile(r"^[ \t]*(?:#|//|--|<!--) Task: T-(\d{3,})(?:[ \t]*-->)?[ \t]*$", re.MULTILINE)
_SPEC = re.compile(r"(\d{3})-[a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a ``tasks.md``. Of several paths, ``path`` is the first."""

    number: int
    ticked: bool
    path: str
    spec: str

    @property
    def name(self) -> str:
        """The Task ID as in marks."""
        return f"T-{self.number:03}"


# Task: T-005
def faults_of(root: Path) -> list[str]:
    """Return all disagreements below ``root``. A tree without any plan is one, too."""
    faults: list[str] = []
    items = list(_items_of(root, faults))
    if not items:
        return [*faults, "specs: no items"]
    in_code, in_tests = _marks_of(root)
    faults += _numbering_faults(items)
    planned = {item.number for item in items}
    faults += [f"T-{number:03}: marked, but not planned" for number in sorted((in_code | in_tests) - planned)]
    for item in items:
        if not item.ticked:
            continue
        if item.number not in in_tests:
            faults.append(f"{item.name}: ticked, but no test is marked")
        if item.number not in in_code and not item.path.startswith("tests/"):
            faults.append(f"{item.name}: ticked, but no code is marked")
        if not (root / item.path).exists():
            faults.append(f"{item.name}: ticked, but there is no {item.path}")
    return faults


def _items_of(root: Path, faults: list[str]) -> Iterator[Item]:
    for spec in sorted(path for path in root.glob("specs/*") if path.is_dir()):
        plan = spec / "tasks.md"
        if not plan.exists():
            faults.append(f"{spec.name}: has no tasks.md")
            continue
        for line in text_of(plan).splitlines():
            if not re.match(r"\s*[-*+] \[", line):
                continue
            match = _ITEM.fullmatch(line.rstrip())
            if match:
                yield Item(int(match["number"]), match["box"] != " ", match["path"], spec.name)
            else:
                faults.append(f"{spec.name}: not of the form '- [ ] T001 [US1] Title in path': {line.strip()}")


def _marks_of(root: Path) -> tuple[set[int], set[int]]:
    """Return the numbers that are marked in code and in tests. Marks in ``specs/`` do not count."""
    in_code: set[int] = set()
    in_tests: set[int] = set()
    for path in files_of(root):
        place = path.relative_to(root)
        if place.parts[0] == "specs":
            continue
        is_test = place.parts[0] == "tests" and place.name.startswith("test_")
        numbers = in_tests if is_test else in_code
        numbers.update(int(number) for number in _MARK.findall(text_of(path)))
    return in_code, in_tests


def _numbering_faults(items: Sequence[Item]) -> Iterator[str]:
    """Yield numbers outside the block of their spec: 001 owns T001 to T099, 002 owns T101 to T199."""
    counts = Counter(item.number for item in items)
    yield from (f"T-{number:03}: planned {count} times" for number, count in counts.items() if count > 1)
    for item in items:
        match = _SPEC.fullmatch(item.spec)
        if match is None:
            yield f"{item.spec}: not of the form 001-name"
        elif item.number // BLOCK != int(match[1]) - 1 or item.number % BLOCK == 0:
            yield f"{item.name}: outside the block of {item.spec}"
