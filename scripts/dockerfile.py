"""Build a Dockerfile without Docker: each stage in a bare Debian. Then run its command, which must serve.

Reads ``Dockerfile`` and ``.dockerignore`` of the commit. A bare Debian replaces every base image. Supports only the
instructions of our Dockerfile, in the forms used there, and refuses all others.
"""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from debian_root import REPOSITORY, CannotMake, debian_root, run_in, say

# Run in the last stage, as root. The arguments: the user, the health check and the command, both quoted for a shell.
CALL = """\
fail() { echo "error: $1" >&2; exit 1; }
as_user="setpriv --reuid $1 --regid $1 --init-groups --no-new-privs"
# The network namespace is new: there is no connection to the outside, and every port is free.
python3 -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))'
$as_user sh -c "exec $3" &
server=$!
tries=0
until $as_user sh -c "$2" >/dev/null 2>&1; do
    tries=$((tries + 1))
    kill -0 $server 2>/dev/null || fail "the server ended"
    [ $tries -lt 300 ] || fail "the health check never passed"
    sleep 1
done
echo "==> The health check passes"
token=$($as_user todo token alice)
for body in '-d {"title":"Milk"}' ''; do
    curl --silent --show-error --noproxy '*' --write-out '\\n%{http_code}\\n' http://127.0.0.1:8000/api/v1/tasks \
        -H "Authorization: Bearer $token" -H 'Content-Type: application/json' $body
done | tee /tmp/answers
[ "$(grep -Ex '[0-9]{3}' /tmp/answers | xargs)" = "201 200" ] || fail "the answers are not 201 and 200"
echo "==> Stopping it with SIGTERM, as Docker does"
kill -TERM $server
wait $server || fail "the server ended with exit code $?"
"""


class CannotCarryOut(Exception):
    """An instruction is unknown, or has failed. The message is one line."""


@dataclass
class Stage:
    """A stage that is being built: its root directory, and the settings of its instructions so far."""

    root: Path
    user: str = "root"
    directory: str = "/"
    variables: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    check: Sequence[str] = ()
    command: Sequence[str] = ()


# Task: T-482
def main() -> int:
    """Build all stages, run the command of the last one, and return the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            context = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evolution-of-todo-")))
            export_head(context)
            last = build(context, stack)
            say(f"CMD {json.dumps(last.command)}")
            started = time.monotonic()
            arguments = [last.user, shlex.join(last.check), shlex.join(last.command)]
            run_step(last, ["/bin/sh", "-euc", CALL, "call", *arguments], user="root", network=False)
            say("The image builds and serves", since=started)
    except (CannotMake, CannotCarryOut) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def export_head(directory: Path) -> None:
    """Write the files of the commit into the directory, except those that ``.dockerignore`` excludes."""
    archive = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", REPOSITORY, "archive", "HEAD"],
        stdout=subprocess.PIPE,
        check=True,
    )
    subprocess.run(["tar", "--extract", "--directory", directory], input=archive.stdout, check=True)
    patterns = (directory / ".dockerignore").read_text().splitlines()
    # Docker reads the Dockerfile and .dockerignore even if the patterns exclude them.
    patterns += ["!Dockerfile", "!.dockerignore"]
    for path in list(directory.rglob("*")):
        if path.is_file() and is_ignored(str(path.relative_to(directory)), patterns):
            path.unlink()


def is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """Return whether the patterns exclude a file. The last one that matches it, or a directory above it, decides."""
    parts = path.split("/")
    above = ["/".join(parts[: length + 1]) for length in range(len(parts))]
    ignored = False
    for pattern in patterns:
        name = pattern.strip().removeprefix("!")
        if not name or name.startswith("#"):
            continue
        # "**/" matches any number of directories, also none.
        if any(fnmatch(part, name) or (name.startswith("**/") and fnmatch(part, name[3:])) for part in above):
            ignored = not pattern.startswith("!")
    return ignored


def instructions_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction of a Dockerfile with its arguments, joined to one line."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), re.sub(r"\s+", " ", rest).strip()


def build(context: Path, stack: ExitStack) -> Stage:
    """Execute the instructions of the Dockerfile, and return the last stage."""
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for name, rest in instructions_of((context / "Dockerfile").read_text()):
        started = time.monotonic()
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            stage = stages[alias or base] = Stage(stack.enter_context(debian_root()))
        elif stage is None:
            raise CannotCarryOut(f"{name} stands before FROM")
        else:
            carry_out(name, rest, stage, stages, context)
        say(f"{name} {rest[:100]}", since=started)
    if stage is None or not stage.command:
        raise CannotCarryOut("The Dockerfile has no CMD")
    return stage


def carry_out(name: str, rest: str, stage: Stage, stages: dict[str, Stage], context: Path) -> None:
    """Execute one instruction in its stage. Raises CannotCarryOut."""
    if name == "COPY":
        copy(rest, stage, stages, context)
    elif name == "RUN":
        run_step(stage, ["/bin/sh", "-c", rest])
    elif name == "ENV":
        for setting in shlex.split(rest):
            variable, _, value = setting.partition("=")
            stage.variables[variable] = re.sub(r"\$(\w+)", lambda found: stage.variables[found[1]], value)
    elif name == "USER":
        stage.user = rest
    elif name == "WORKDIR":
        stage.directory = rest
        (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif name == "HEALTHCHECK":
        stage.check = exec_form(rest.partition("CMD ")[2])
    elif name == "CMD":
        stage.command = exec_form(rest)
    elif name != "EXPOSE":
        raise CannotCarryOut(f"This script does not know the instruction {name}")


def exec_form(text: str) -> list[str]:
    """Return the words of a command in the exec form. Raises CannotCarryOut for the shell form."""
    try:
        return [str(word) for word in json.loads(text)]
    except ValueError:
        raise CannotCarryOut(f"Write this as a list of words, so that it gets signals: {text}") from None


def copy(rest: str, stage: Stage, stages: dict[str, Stage], context: Path) -> None:
    """Copy files from the context or from another stage into the stage. Their owner is root."""
    words = rest.split()
    source = context
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")].root
    if words[0].startswith("--"):
        raise CannotCarryOut(f"This script does not know COPY {words[0]}")
    *names, target = words
    place = stage.root / str(Path(stage.directory) / target).lstrip("/")
    for name in names:
        path = source / name.lstrip("/")
        if path.is_dir():
            shutil.copytree(path, place, symlinks=True, dirs_exist_ok=True)
        elif path.is_file() and target.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
        else:
            raise CannotCarryOut(f"COPY {name} {target}: there is no such file, or the target has no slash at its end")


def run_step(stage: Stage, command: Sequence[str], *, user: str | None = None, network: bool = True) -> None:
    """Run a command in the stage, as its user, in its directory. Raises CannotCarryOut if it fails."""
    user = user or stage.user
    switch = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if user != "root" else []
    script = 'cd "$1" && shift && exec "$@"'
    whole = ["/bin/sh", "-c", script, "step", stage.directory, *switch, *command]
    code = run_in(stage.root, whole, stage.variables, network=network)
    if code:
        raise CannotCarryOut(f"A step failed with exit code {code}: {' '.join(command)[:100]}")


if __name__ == "__main__":
    sys.exit(main())
