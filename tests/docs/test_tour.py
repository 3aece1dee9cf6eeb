"""The tour: each command of ``docs/tour.md`` runs against a real server and prints what the page shows."""

import os
import sys
from collections.abc import Iterator

import pytest

from support import tour
from support.processes import Serving, serving
from support.repository import ROOT, text_of

PAGE = ROOT / "docs/tour.md"
# Set it to write the server's output into the page instead of comparing.
REWRITE = "TODO_REWRITE_TOUR"

EXAMPLE = """\
Words.

```bash
API=http://127.0.0.1:8000
```

```console
$ first \\
    --option
{"id":"0197f0c2-a6b4-7e0b-8d3c-5a1e9f60b7d2","created_at":"2026-11-21T13:59:07.792268Z","revision":1}
$ second '{
    "id": "0197f0c2-b0b0-7e0b-8d3c-5a1e9f60b7d2"}'
$ third
id="0197f0c2-b0b0-7e0b-8d3c-5a1e9f60b7d2" at="2026-11-21T13:59:07Z" due_at="2026-03-01T01:59:59.999999Z"
```
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with an embedded PostgreSQL, in a directory where ``.venv`` is as in a clone."""
    directory = tmp_path_factory.mktemp("tour")
    (directory / ".venv").symlink_to(sys.prefix)
    with serving(directory) as server:
        yield server


# Task: T-481
@pytest.mark.slow
class TestTour:
    def test_tour_shows_the_output_of_the_server(self, server: Serving) -> None:
        page = text_of(PAGE)
        steps = tour.steps_of(page)

        outputs = tour.run(steps, directory=server.log.parent, address=server.address)

        if os.environ.get(REWRITE):
            PAGE.write_text(tour.rewritten(page, outputs), encoding="utf-8")
            pytest.skip("the page is rewritten")
        assert len(steps) > 40
        assert not (differences := tour.differences_of(steps, outputs)), (
            "\n".join(differences) + f"If the new output is right: {REWRITE}=1 .venv/bin/pytest tests/docs/test_tour.py"
        )

    def test_tour_can_be_repeated_on_the_same_database(self, server: Serving) -> None:
        steps = tour.steps_of(text_of(PAGE))
        tour.run(steps[:10], directory=server.log.parent, address=server.address)

        again = tour.run(steps, directory=server.log.parent, address=server.address)

        assert tour.differences_of(steps, again) == []


# Task: T-481
class TestStepsOf:
    def test_steps_separate_commands_from_their_output(self) -> None:
        steps = tour.steps_of(EXAMPLE)

        assert [(step.command.partition("\n")[0], step.shown.partition(":")[0]) for step in steps] == [
            ("API=http://127.0.0.1:8000", ""),
            ("first \\", '{"id"'),
            ("second '{", ""),
            ("third", 'id="0197f0c2-b0b0-7e0b-8d3c-5a1e9f60b7d2" at="2026-11-21T13'),
        ]

    def test_output_without_a_command_is_rejected(self) -> None:
        with pytest.raises(ValueError, match="begins with a command"):
            tour.steps_of("```console\nHTTP/1.1 200 OK\n```\n")

    def test_rewritten_tour_has_the_same_commands(self) -> None:
        steps = tour.steps_of(EXAMPLE)

        page = tour.rewritten(EXAMPLE, ["", "one", "", "two\nthree"])

        assert [step.command for step in tour.steps_of(page)] == [step.command for step in steps]
        assert [step.shown for step in tour.steps_of(page)] == ["", "one", "", "two\nthree"]
        assert page.startswith("Words.\n")


# Task: T-481
class TestDifferencesOf:
    def test_generated_ids_and_times_of_requests_are_ignored(self) -> None:
        actual = [
            "",
            '{"id":"01a1fe67-7108-7def-9c3a-f712b62685ea","created_at":"2099-01-01T00:00:00.1Z","revision":1}',
            "",
            'id="0197f0c2-b0b0-7e0b-8d3c-5a1e9f60b7d2" at="2099-01-01T00:00:00Z" due_at="2026-03-01T01:59:59.999999Z"',
        ]

        assert tour.differences_of(tour.steps_of(EXAMPLE), actual) == []

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"revision":1', '"revision":2'),
            ('"created_at":"2026-11-21T13:59:07.792268Z"', '"created_at":null'),
            ('"created_at":"2026-11-21T13:59:07.792268Z"', '"created_at":"2026-11-21"'),
            ('id="0197f0c2-b0b0-7e0b', 'id="0197f0c2-ffff-7e0b'),
            ('due_at="2026-03-01', 'due_at="2026-03-02'),
            ("--option\n", "--option\ncurl: (7) connection refused\n"),
        ],
    )
    def test_other_differences_are_reported(self, old: str, new: str) -> None:
        steps = tour.steps_of(EXAMPLE)
        actual = [step.shown for step in tour.steps_of(EXAMPLE.replace(old, new))]

        [difference] = tour.differences_of(steps, actual)

        assert new.splitlines()[-1] in difference

    def test_run_that_ended_early_is_reported(self) -> None:
        steps = tour.steps_of(EXAMPLE)

        assert tour.differences_of(steps, [""]) == ["4 commands, but 1 outputs"]
