"""The Dockerfile, and the script that executes it without Docker."""

import json
import re
from pathlib import Path

import pytest

import dockerfile
from support.repository import ROOT, text_of

INSTRUCTIONS = list(dockerfile.instructions_of(text_of(ROOT / "Dockerfile")))
IGNORED = text_of(ROOT / ".dockerignore").splitlines()


def last(name: str) -> str:
    """Return the arguments of the last instruction of this name."""
    return [rest for instruction, rest in INSTRUCTIONS if instruction == name][-1]


# Task: T-482
class TestDockerfile:
    def test_dockerfile_builds_in_one_stage_and_serves_from_another(self) -> None:
        assert [rest for name, rest in INSTRUCTIONS if name == "FROM"] == [
            "python:3.11-slim-bookworm AS build",
            "python:3.11-slim-bookworm",
        ]

    def test_container_does_not_run_as_root(self) -> None:
        names = [name for name, _ in INSTRUCTIONS]

        assert last("USER") == "todo"
        assert names.index("USER") < names.index("CMD")
        assert "RUN" not in names[names.index("USER") :]

    def test_signals_reach_the_server_directly(self) -> None:
        assert json.loads(last("CMD")) == ["todo", "serve", "--host", "0.0.0.0"]  # noqa: S104 - in a container.

    def test_health_check_calls_the_server(self) -> None:
        command = json.loads(last("HEALTHCHECK").partition("CMD ")[2])

        assert command[:2] == ["python", "-c"]
        assert "http://127.0.0.1:8000/healthz" in command[2]

    def test_image_installs_the_locked_packages(self) -> None:
        installing = [rest for name, rest in INSTRUCTIONS if name == "RUN" and "requirements.lock" in rest]

        assert len(installing) == 1
        assert "--no-deps --require-hashes --only-binary=:all: --requirement requirements.lock" in installing[0]

    @pytest.mark.parametrize(
        ("path", "ignored"),
        [
            ("requirements.lock", False),
            ("phase2/backend/todo/main.py", False),
            ("phase2/backend/todo/web/static/docs.js", False),
            ("phase2/backend/todo/__pycache__/main.cpython-311.pyc", True),
            ("phase2/backend/evolution_of_todo.egg-info/PKG-INFO", True),
            ("phase2/api-specification.yaml", True),
            (".env", True),
            (".data/jwt-secret", True),
            (".git/config", True),
            ("tests/conftest.py", True),
        ],
    )
    def test_build_context_contains_only_needed_files(self, path: str, ignored: bool) -> None:  # noqa: FBT001 - a column.
        assert dockerfile.is_ignored(path, IGNORED) is ignored


# Task: T-482
class TestExecution:
    def test_instructions_over_several_lines_with_comments_are_parsed(self) -> None:
        text = '# a comment\nFROM a AS b\n\nRUN one \\\n    # within\n    && two\nCMD ["x"]\n'

        assert list(dockerfile.instructions_of(text)) == [("FROM", "a AS b"), ("RUN", "one && two"), ("CMD", '["x"]')]

    def test_env_sets_variables_for_later_steps(self, tmp_path: Path) -> None:
        stage = dockerfile.Stage(tmp_path, variables={"PATH": "/bin"})

        dockerfile.carry_out("ENV", "PATH=/app/bin:$PATH NAME='two words'", stage, {}, tmp_path)

        assert stage.variables == {"PATH": "/app/bin:/bin", "NAME": "two words"}

    def test_copy_copies_files_and_the_content_of_directories(self, tmp_path: Path) -> None:
        context, stage = tmp_path / "context", dockerfile.Stage(tmp_path / "root", directory="/build")
        (context / "package/inner").mkdir(parents=True)
        (context / "package/inner/a.py").touch()
        (context / "b.txt").touch()

        dockerfile.carry_out("COPY", "b.txt ./", stage, {}, context)
        dockerfile.carry_out("COPY", "package target", stage, {}, context)
        dockerfile.carry_out("COPY", "--from=first /build/b.txt /etc/", stage, {"first": stage}, context)

        found = {str(path.relative_to(stage.root)) for path in stage.root.rglob("*") if path.is_file()}
        assert found == {"build/b.txt", "build/target/inner/a.py", "etc/b.txt"}

    @pytest.mark.parametrize(
        ("name", "rest", "reason"),
        [
            ("ONBUILD", "RUN x", "does not know the instruction ONBUILD"),
            ("CMD", "todo serve", "Write this as a list of words"),
            ("COPY", "missing ./", "there is no such file"),
            ("COPY", "--chown=a b ./", "does not know COPY --chown=a"),
        ],
    )
    def test_unsupported_instruction_is_rejected(self, tmp_path: Path, name: str, rest: str, reason: str) -> None:
        with pytest.raises(dockerfile.CannotCarryOut, match=re.escape(reason)):
            dockerfile.carry_out(name, rest, dockerfile.Stage(tmp_path), {}, tmp_path)
