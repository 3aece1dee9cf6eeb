"""Paths as logs may show them: as they were sent, but without text that users wrote."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from todo.web.route import Route, user_text_in

_MAX_LENGTH = 200


# Task: T-421
class LoggedPaths:
    """The paths of ``routes``. Where a route marks a parameter with ``UserText``, its template is logged up to there.

    So is every path that begins in the same way, whether or not it leads anywhere.
    """

    def __init__(self, routes: Sequence[BaseRoute] = ()) -> None:
        self._templates = sorted(set(_paths_with_user_text(routes)))
        self._pattern = re.compile("|".join(f"({_pattern_before_last(each)})" for each in self._templates) or r"(?!)")

    def path_of(self, scope: Mapping[str, Any]) -> str:
        """Return the path of a request for its log line."""
        # The decoded path: "%74ags" is "tags" for the routes as well.
        found = self._pattern.match(scope["path"])
        if found and found.lastindex:
            return self._templates[found.lastindex - 1]
        # As it was sent, still percent-encoded: so it cannot send control sequences to a terminal.
        raw_path: bytes = scope.get("raw_path") or b""
        return raw_path[:_MAX_LENGTH].decode("ascii", "backslashreplace")


def _paths_with_user_text(routes: Sequence[BaseRoute]) -> list[str]:
    """Return the templates of such paths, each up to its first parameter that holds user text."""
    found = []
    for context in iter_route_contexts(routes):
        if not isinstance(context.original_route, Route):
            continue
        hidden = {f"{{{name}}}" for name in user_text_in(context.original_route)}
        segments = (context.path or "").split("/")
        for position, segment in enumerate(segments):
            if segment in hidden:
                found.append("/".join(segments[: position + 1]))
                break
    return found


def _pattern_before_last(template: str) -> str:
    """Return a pattern for the part of a template before its last segment."""
    segments = template.split("/")[:-1]
    return "".join(("[^/]+" if segment.startswith("{") else re.escape(segment)) + "/" for segment in segments)
