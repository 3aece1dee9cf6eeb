"""The application and its router."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Query
from httpx import ASGITransport, AsyncClient
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from todo.errors import FieldError, Invalid
from todo.models.base import RequestBody
from todo.models.values import QueryBool, WholeNumber
from todo.web.application import Application
from todo.web.middleware import Problems, Tracing
from todo.web.route import Route, UserText


class Thing(BaseModel):
    """A body."""

    name: str


class Filter(BaseModel):
    """A query."""

    tag: str = ""


class Saved(RequestBody):
    """A body with types that queries also use."""

    most: WholeNumber
    trashed: QueryBool


def make_app() -> Application:
    router = APIRouter(prefix="/things", route_class=Route)

    @router.get("/{thing_id}")
    async def read_thing(thing_id: str) -> list[str]:
        return ["read", thing_id]

    @router.delete("/{thing_id}")
    async def delete_thing(thing_id: str) -> list[str]:
        return ["deleted", thing_id]

    @router.post("/bulk")
    async def create_things() -> list[str]:
        return ["created"]

    @router.get("/{thing_id}/parts/{part_id}")
    async def read_part(thing_id: str, part_id: str) -> list[str]:
        return [thing_id, part_id]

    @router.get("/called/{title}")
    async def read_by_title(title: Annotated[str, UserText()]) -> str:
        return title

    @router.get("/{thing_id}/called/{title}")
    async def read_part_by_title(thing_id: str, title: Annotated[str, UserText()]) -> list[str]:
        return [thing_id, title]

    @router.get("/{name}/named")
    async def read_named(name: str) -> str:
        return name

    @router.post("/{thing_id}/refuse")
    async def refuse_thing(thing_id: str, body: Thing, query: Annotated[Filter, Query()]) -> None:  # noqa: ARG001
        raise Invalid(*(FieldError(f"/{name}", "No.") for name in ("name", "tag", "thing_id", "colour", "name/first")))

    @router.post("/saved")
    async def save(body: Saved) -> list[Any]:
        return [body.most, body.trashed]

    app = Application(redirect_slashes=False, openapi_url=None)
    app.include_router(router, prefix="/v1")

    @app.get("/plain")
    async def read_plain(number: int) -> int:
        return number

    async def show_page(_: Request) -> Response:
        return PlainTextResponse("page")

    app.add_route("/page", show_page)
    app.add_middleware(Problems)
    app.add_middleware(Tracing)
    return app


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    """A client of an application with a few routes."""
    async with AsyncClient(transport=ASGITransport(make_app()), base_url="http://todo.test") as client:
        yield client


# Task: T-011
class TestSharedTypes:
    async def test_request_body_accepts_json_numbers_and_booleans(self, client: AsyncClient) -> None:
        response = await client.post("/v1/things/saved", json={"most": 5, "trashed": True})

        assert (response.status_code, response.json()) == (200, [5, True])

    @pytest.mark.parametrize("most", ["5", 1.5, True, [], {}])
    async def test_request_body_with_a_wrong_type_is_rejected(self, client: AsyncClient, most: Any) -> None:
        response = await client.post("/v1/things/saved", json={"most": most, "trashed": []})

        assert (response.status_code, response.json()["errors"]) == (
            422,
            [
                {"pointer": "/body/most", "detail": "Expected a whole number."},
                {"pointer": "/body/trashed", "detail": "Expected true or false."},
            ],
        )


# Task: T-042
class TestDispatch:
    @pytest.mark.parametrize(
        ("method", "path", "answer"),
        [
            ("GET", "/v1/things/7", ["read", "7"]),
            ("DELETE", "/v1/things/7", ["deleted", "7"]),
            ("POST", "/v1/things/bulk", ["created"]),
            ("GET", "/v1/things/7/parts/8", ["7", "8"]),
            ("GET", "/v1/things/bulk/parts/8", ["bulk", "8"]),
            ("GET", "/v1/things/%20%3F", ["read", " ?"]),
            ("GET", "/v1/th%69ngs/%37", ["read", "7"]),
        ],
    )
    async def test_router_finds_the_route(self, client: AsyncClient, method: str, path: str, answer: list[str]) -> None:
        response = await client.request(method, path)

        assert (response.status_code, response.json()) == (200, answer)

    @pytest.mark.parametrize(
        "path",
        ["/v1", "/v1/", "/v1/things", "/v1/things/", "/things/7", "/v1/things//parts/8", "/v1/things/7%2Fparts%2F8"],
    )
    async def test_router_answers_404_for_an_unknown_path(self, client: AsyncClient, path: str) -> None:
        response = await client.get(path)

        assert (response.status_code, response.json()["detail"]) == (404, "There is nothing at this path.")

    @pytest.mark.parametrize("path", ["/v1/things/7/", "/v1/things/bulk/"])
    async def test_router_names_a_trailing_slash_as_the_cause_of_a_404(self, client: AsyncClient, path: str) -> None:
        response = await client.get(path)

        assert (response.status_code, response.json()["detail"]) == (
            404,
            "There is nothing at this path. Leave out the slash at its end.",
        )

    @pytest.mark.parametrize(
        ("path", "name"),
        [
            ("home", "home"),
            ("home%2Fgarden", "home/garden"),
            ("home%2fgarden", "home/garden"),
            ("%2F", "/"),
            ("%2f%2F", "//"),
            ("a%2F", "a/"),
            ("%2Fa", "/a"),
            ("..%2F..%2Fbulk", "../../bulk"),
            ("7%2Fparts%2F8", "7/parts/8"),
            ("50%25", "50%"),
            ("%252F", "%2F"),
            ("%252F%2F", "%2F/"),
            ("%25252F", "%252F"),
            ("a%3Fb%23c", "a?b#c"),
            ("caf%C3%A9%2F%F0%9F%A5%9B", "café/🥛"),
            ("a+b%2Fc", "a+b/c"),
            ("%FF%2F", "\ufffd/"),
        ],
    )
    async def test_router_treats_a_percent_encoded_slash_as_part_of_a_name(
        self, client: AsyncClient, path: str, name: str
    ) -> None:
        response = await client.get(f"/v1/things/called/{path}")
        with_id = await client.get(f"/v1/things/7/called/{path}")

        assert (response.status_code, response.json()) == (200, name)
        assert (with_id.status_code, with_id.json()) == (200, ["7", name])

    @pytest.mark.parametrize(
        "path",
        [
            "/v1%2Fthings/7",
            "/v1/things%2F7",
            "/v1/things/7%2F",
            "/v1/things/%2F",
            "/v1/things/called%2Fhome",
            "/v1/things/called%2Fhome%2Fgarden",
            "/v1/things/7%2F8/called/home",
            "/v1/things/7%2F8/called/home%2Fgarden",
            "/v1/things/7/parts%2F8/called/home",
            "/v1/things/called/home%2Fgarden/",
            "/v1/things/called/%2F/parts",
            "/v1/things/a%2Fb/named",
            "%2Fv1/things/7",
            "/page%2F",
            "/%2Fpage",
        ],
    )
    async def test_router_does_not_split_a_path_at_a_percent_encoded_slash(
        self, client: AsyncClient, path: str
    ) -> None:
        response = await client.get(path)

        assert (response.status_code, response.json()["code"]) == (404, "not_found")

    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    async def test_router_names_the_methods_of_a_path_with_a_percent_encoded_slash(
        self, client: AsyncClient, method: str
    ) -> None:
        response = await client.request(method, "/v1/things/called/home%2Fgarden")

        assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")

    async def test_router_answers_head_like_get_without_the_body(self, client: AsyncClient) -> None:
        full = await client.get("/v1/things/7", headers={"X-Request-ID": "same"})

        response = await client.head("/v1/things/7", headers={"X-Request-ID": "same"})

        assert (response.status_code, response.headers) == (full.status_code, full.headers)
        assert (full.content, response.content) == (b'["read","7"]', b"")

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [("/v1/things/7", "DELETE, GET, HEAD"), ("/v1/things/bulk", "POST"), ("/page", "GET, HEAD")],
    )
    async def test_router_names_all_methods_of_a_path(self, client: AsyncClient, path: str, allowed: str) -> None:
        response = await client.put(path)

        assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
        assert response.headers["allow"] == allowed

    def test_router_rejects_a_parameter_that_spans_segments(self) -> None:
        app = Application()
        router = APIRouter(route_class=Route)

        @router.get("/files/{path:path}")
        async def read_file(path: str) -> str:
            return path

        app.include_router(router)

        with pytest.raises(TypeError, match="a parameter is a whole segment"):
            app.build_middleware_stack()


# Task: T-040
class TestApplication:
    async def test_application_serves_plain_fastapi_and_starlette_routes(self, client: AsyncClient) -> None:
        plain = await client.get("/plain?number=1")
        page = await client.get("/page")

        assert [(response.status_code, response.text) for response in (plain, page)] == [(200, "1"), (200, "page")]

    async def test_invalid_input_of_a_plain_fastapi_route_gets_our_problem(self, client: AsyncClient) -> None:
        response = await client.get("/plain?number=secret")

        problem: dict[str, Any] = response.json()
        assert (response.status_code, problem["code"]) == (422, "invalid_input")
        assert [error["pointer"] for error in problem["errors"]] == ["/query/number"]
        assert "secret" not in response.text


# Task: T-042
class TestServiceErrors:
    async def test_error_of_a_service_points_to_the_part_of_the_request_with_the_field(
        self, client: AsyncClient
    ) -> None:
        response = await client.post("/v1/things/7/refuse", json={"name": "a"})

        assert [error["pointer"] for error in response.json()["errors"]] == [
            "/body/name",
            "/query/tag",
            "/path/thing_id",
            "/colour",
            "/body/name/first",
        ]
