"""``docs/tour.md`` as a script: its commands, the output that it shows, and the output of a real run.

Commands stand in two kinds of code blocks. A ``bash`` block runs as it is and prints nothing. In a ``console`` block,
a line that begins with ``$ `` begins a command; the command continues while a backslash or a single quote is open. The
lines below it are its output.

Four things differ from run to run: ids that the server generates, the times of the requests, request ids, and cursors.
``comparable`` replaces them by names, on both sides. Everything else has to be equal.
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.processes import TIMEOUT_SECONDS, environment

ADDRESS = "http://127.0.0.1:8000"

_BLOCK = re.compile(r"^```(bash|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "--- output of command "
_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
# A field as ``"name": value`` in JSON, or as ``name=value`` printed by ``show``.
_FIELD = r'("?\b(?:{names})"?(?:: ?|=))"{value}"'
_INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z"
_TIMES = _FIELD.format(names="created_at|updated_at|completed_at|last_completed_at|trashed_at|at", value=_INSTANT)
_VARYING = (
    (re.compile(_TIMES), r"\1<time>"),
    (re.compile(_FIELD.format(names="request_id", value="[0-9a-f]{32}")), r"\1<request id>"),
    (re.compile(_FIELD.format(names="next_cursor", value=r"[\w-]+")), r"\1<cursor>"),
    # How long an event stream asks its client to wait before it connects again.
    (re.compile(r"^retry: \d+$", re.MULTILINE), "retry: <milliseconds>"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and the output that the tour shows for it."""

    command: str
    shown: str


# Task: T-481
def steps_of(tour: str) -> list[Step]:
    """Return the commands of the tour, in order. Raises ValueError for output above the first command of a block."""
    steps: list[Step] = []
    for kind, block in _BLOCK.findall(tour):
        if kind == "bash":
            steps.append(Step(block.rstrip("\n"), ""))
        else:
            steps += _console_steps(block)
    return steps


def _console_steps(block: str) -> Iterator[Step]:
    if not block.startswith("$ "):
        raise ValueError(f"a console block begins with a command: {block[:40]!r}")
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        length = next(n for n in range(1, len(lines) + 1) if _is_complete("\n".join(lines[:n])) or n == len(lines))
        yield Step("\n".join(lines[:length]), "\n".join(lines[length:]))


def _is_complete(command: str) -> bool:
    """True if no backslash and no single quote is open at the end of the command."""
    return not command.endswith("\\") and command.count("'") % 2 == 0


# Task: T-481
def run(steps: Sequence[Step], *, directory: Path, address: str) -> list[str]:
    """Run the commands in one bash in ``directory``, against the server at ``address``; return their output."""
    parts = [f"echo '{_MARK}{number}'\n{step.command}" for number, step in enumerate(steps)]
    script = "\n".join(parts).replace(ADDRESS, address)
    with (directory / "tour").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(TIMEOUT_SECONDS)
        finally:
            # The event stream's curl ends only when it writes the next time.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(TIMEOUT_SECONDS)
        output.seek(0)
        text = output.read()
    _, *outputs = re.split(rf"^{_MARK}\d+\n", text, flags=re.MULTILINE)
    return [each.rstrip("\n") for each in outputs]


# Task: T-481
def comparable(output: str, *, chosen_ids: frozenset[str] = frozenset()) -> str:
    """Replace the parts that differ between runs. ``chosen_ids`` are ids that the commands choose; they are kept."""
    for pattern, name in _VARYING:
        output = pattern.sub(name, output)
    return _ID.sub(lambda found: found[0] if found[0] in chosen_ids else "<id>", output)


# Task: T-481
def differences_of(steps: Sequence[Step], outputs: Sequence[str]) -> list[str]:
    """Describe each command whose output is not the one that is shown."""
    chosen_ids = frozenset(_ID.findall("\n".join(step.command for step in steps)))
    if len(steps) != len(outputs):
        return [f"{len(steps)} commands, but {len(outputs)} outputs"]
    return [
        f"$ {step.command}\nshown:\n{step.shown}\nactual:\n{output}\n"
        for step, output in zip(steps, outputs, strict=True)
        if comparable(step.shown, chosen_ids=chosen_ids) != comparable(output, chosen_ids=chosen_ids)
    ]


def rewritten(tour: str, outputs: Sequence[str]) -> str:
    """Return the tour with these outputs in place of the shown ones."""
    remaining = iter(outputs)

    def block(match: re.Match[str]) -> str:
        if match[1] == "bash":
            next(remaining)
            return match[0]
        parts = []
        for step in _console_steps(match[2]):
            output = next(remaining)
            parts.append(f"$ {step.command}\n" + (f"{output}\n" if output else ""))
        return f"```console\n{''.join(parts)}```"

    return _BLOCK.sub(block, tour)
