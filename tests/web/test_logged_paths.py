"""Paths in logs: path parameters that hold user text are replaced by their names."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Path

from todo.web.application import Application
from todo.web.logged_paths import LoggedPaths
from todo.web.route import Route, UserText

Title = Annotated[str, Path(max_length=50), UserText()]


def paths() -> LoggedPaths:
    router = APIRouter(prefix="/things", route_class=Route)

    @router.get("/{thing_id}")
    async def read_thing(thing_id: str) -> str:
        return thing_id

    @router.get("/called/{title}")
    async def read_by_title(title: Title) -> str:
        return title

    @router.get("/{thing_id}/parts/{title}/screws/{screw_id}")
    async def read_screw(thing_id: str, title: Title, screw_id: str) -> list[str]:
        return [thing_id, title, screw_id]

    app = Application(redirect_slashes=False, openapi_url=None)
    app.include_router(router, prefix="/v1")
    return LoggedPaths(app.routes)


def scope_of(raw_path: bytes, path: str) -> dict[str, Any]:
    return {"path": path, "raw_path": raw_path}


# Task: T-421
class TestLoggedPaths:
    @pytest.mark.parametrize(
        ("raw_path", "path", "logged"),
        [
            (b"/v1/things/7", "/v1/things/7", "/v1/things/7"),
            (b"/v1/things/called", "/v1/things/called", "/v1/things/called"),
            (b"/v1/things/called/secret", "/v1/things/called/secret", "/v1/things/called/{title}"),
            (b"/v1/things/called%2Fsecret", "/v1/things/called/secret", "/v1/things/called/{title}"),
            (b"/v1/things/c%61lled/secret", "/v1/things/called/secret", "/v1/things/called/{title}"),
            (b"/v1/things/called/secret/x", "/v1/things/called/secret/x", "/v1/things/called/{title}"),
            (b"/v1/things/7/parts/secret", "/v1/things/7/parts/secret", "/v1/things/{thing_id}/parts/{title}"),
            (
                b"/v1/things/7/parts/secret/screws/8",
                "/v1/things/7/parts/secret/screws/8",
                "/v1/things/{thing_id}/parts/{title}",
            ),
            (b"/v1/things/7/parts", "/v1/things/7/parts", "/v1/things/7/parts"),
            (b"/%1b%5B2J", "/\x1b[2J", "/%1b%5B2J"),
        ],
    )
    def test_logged_path_contains_no_user_text(self, raw_path: bytes, path: str, logged: str) -> None:
        assert paths().path_of(scope_of(raw_path, path)) == logged

    def test_logged_path_is_unchanged_if_no_route_holds_user_text(self) -> None:
        assert LoggedPaths().path_of(scope_of(b"/v1/things/called/a", "/v1/things/called/a")) == "/v1/things/called/a"
