"""The files of the repository as in a fresh clone, without generated ones."""

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]


def files_of(root: Path) -> Iterator[Path]:
    """Yield every file below ``root`` that ``.gitignore`` does not name, in no order. Needs no git."""
    ignored = [".git", *_ignored_names(root)]
    for directory, directories, files in os.walk(root):
        directories[:] = [name for name in directories if not _is_among(name, ignored)]
        yield from (Path(directory, name) for name in files if not _is_among(name, ignored))


def text_of(path: Path) -> str:
    """Return a file's text; empty for a file that is not text."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return ""


def _ignored_names(root: Path) -> list[str]:
    """Return the patterns of ``.gitignore``. Raises ValueError for anything but plain names."""
    patterns = text_of(root / ".gitignore").split() if (root / ".gitignore").exists() else []
    names = [pattern.rstrip("/") for pattern in patterns]
    if any("/" in name or name.startswith(("!", "#")) for name in names):
        raise ValueError(".gitignore holds more than plain names")
    return names


def _is_among(name: str, patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
