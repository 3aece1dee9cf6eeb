"""Request paths for the log: as they were sent, but without text that users wrote."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from todo.web.route import Route, user_text_in

_MAX_LENGTH = 200


# Task: T-421
class LoggedPaths:
    """The paths of ``routes``, for the log.

    If a route marks a path parameter with ``UserText``, its template up to that parameter is logged instead of the
    path. The same holds for every path that begins in the same way, even if it has no route.
    """

    def __init__(self, routes: Sequence[BaseRoute] = ()) -> None:
        self._templates = sorted(set(_paths_with_user_text(routes)))
        self._pattern = re.compile("|".join(f"({_pattern_before_last(each)})" for each in self._templates) or r"(?!)")

    def path_of(self, scope: Mapping[str, Any]) -> str:
        """Return the path of a request for its log line."""
        # Match the decoded path, as the routes do: "%74ags" is "tags".
        found = self._pattern.match(scope["path"])
        if found and found.lastindex:
            return self._templates[found.lastindex - 1]
        # Percent-encoded as it was sent, so that it cannot send control sequences to a terminal.
        raw_path: bytes = scope.get("raw_path") or b""
        return raw_path[:_MAX_LENGTH].decode("ascii", "backslashreplace")


def _paths_with_user_text(routes: Sequence[BaseRoute]) -> list[str]:
    """Return the templates of paths with user text, each up to the first parameter that contains it."""
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
    """Return a regular expression for a template without its last segment."""
    segments = template.split("/")[:-1]
    return "".join(("[^/]+" if segment.startswith("{") else re.escape(segment)) + "/" for segment in segments)
