"""The documents: their links, commands, settings, operations and files exist, and short documents stay short."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from support.repository import ROOT, files_of, text_of
from todo.settings import Settings

PACKAGE = ROOT / "phase2/backend/todo"
# Every setting is named after its field, except this one.
OTHER_NAMES = {"data_dir": "TODO_DATA_DIR"}
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]

_CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_OPERATION = re.compile(r"`(GET|POST|PUT|PATCH|DELETE) (/[\w/{}.-]*)")
_FILE = re.compile(r"`([\w.][\w./-]*\.(?:py|sql|md|yaml|toml|json|lock))`")


def pages() -> list[Path]:
    """Return every Markdown file of ours. Templates have placeholders, and vendored pages are not ours."""
    return [path for path in files_of(ROOT) if path.suffix == ".md" and not {"templates", "static"} & set(path.parts)]


def prose_of(path: Path) -> str:
    """Return the text of a page without its code."""
    return _CODE.sub("", _CODE_BLOCK.sub("", text_of(path)))


def anchors_of(page: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _CODE_BLOCK.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def broken_links_of(path: Path) -> Iterator[str]:
    """Yield each relative link whose file or heading does not exist."""
    for target in _LINK.findall(prose_of(path)):
        place, _, anchor = unquote(target).partition("#")
        if "://" in place:
            continue
        file = path.parent / place if place else path
        if not file.exists() or (anchor and anchor not in anchors_of(text_of(file))):
            yield f"{path.relative_to(ROOT)}: {target}"


# Task: T-070
class TestLinks:
    def test_links_of_all_pages_lead_to_a_file_and_a_heading(self) -> None:
        found = pages()

        broken = [link for page in found for link in broken_links_of(page)]

        assert len(found) > 20
        assert broken == []

    @pytest.mark.parametrize("target", ["missing.md", "#no-such-heading", "docs/tour.md#no-such-heading"])
    def test_broken_links_are_reported(self, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "read_text", lambda *_: f"# A heading\n\n[text]({target})\n")

        assert list(broken_links_of(ROOT / "README.md")) == [f"README.md: {target}"]

    def test_anchors_are_those_of_github(self) -> None:
        assert anchors_of("# A, b & `C`\n\n## What it's not\n") == {"a-b--c", "what-its-not"}


# Task: T-070
class TestCommands:
    def test_make_commands_in_the_guides_exist(self) -> None:
        targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))

        named = {
            name
            for page in GUIDES
            for code in re.findall(r"`[^`\n]+`|^\$ .+$|^make .+$", text_of(page), re.MULTILINE)
            for command in re.findall(r"\bmake ((?:[a-z-]+ ?)+)", code)
            for name in command.split()
        }

        assert {"run", "test", "check", "setup", "migrate", "openapi"} <= named
        assert named - targets == set()


class TestSettings:
    def test_deployment_guide_lists_every_setting_with_its_default(self) -> None:
        rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]*)\|", text_of(ROOT / "docs/deployment.md"), re.MULTILINE)

        settings = {OTHER_NAMES.get(name, name.upper()): field for name, field in Settings.model_fields.items()}

        assert sorted(name for name, _ in rows) == sorted(settings)
        for name, shown in rows:
            default = settings[name].default
            if isinstance(default, int | str):
                assert shown.strip().strip("`") == str(default), name


class TestOperations:
    def test_operations_in_the_guides_exist(self) -> None:
        paths = yaml.safe_load(text_of(ROOT / "phase2/api-specification.yaml"))["paths"]
        operations = {(method.upper(), path) for path, methods in paths.items() for method in methods}

        named = {
            (method, path if path.startswith(("/api/", "/healthz", "/readyz")) else f"/api/v1{path}")
            for page in GUIDES
            for method, path in _OPERATION.findall(text_of(page))
        }

        assert len(named) > 5
        assert named - operations == set()

    def test_error_codes_in_the_sync_guide_exist(self) -> None:
        source = "\n".join(text_of(path) for path in PACKAGE.rglob("*.py"))
        page = text_of(ROOT / "docs/sync.md")

        codes = re.findall(r"^\| \d{3} \| `(\w+)` \|", page, re.MULTILINE)
        codes += re.findall(r"\b4\d\d(?: with the code)? `(\w+)`", " ".join(page.split()))

        assert len(codes) > 10
        assert [code for code in codes if f'"{code}"' not in source] == []


class TestFiles:
    def test_files_in_the_guides_exist(self) -> None:
        named = {(page, name) for page in GUIDES for name in _FILE.findall(text_of(page)) if "NAME" not in name}

        missing = [
            f"{page.relative_to(ROOT)}: {name}"
            for page, name in sorted(named)
            if not any((base / name).exists() for base in (ROOT, PACKAGE, page.parent)) and "/" in name
        ]

        assert len(named) > 30
        assert missing == []


class TestLength:
    @pytest.mark.parametrize(("name", "most"), [("README.md", 150), ("docs/glossary.md", 40)])
    def test_length_of_a_page_is_bounded(self, name: str, most: int) -> None:
        lines = text_of(ROOT / name).splitlines()

        assert 20 < len(lines) <= most
