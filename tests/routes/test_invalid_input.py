"""Invalid requests: each gets a clear 4xx response, the response does not repeat the input, and nothing is stored."""

import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response

from support.tasks import add_task

# Part of the requests; no response may contain it.
SECRET = "Zq7xSecret"
ENOUGH_SECONDS = 5
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Bad:
    """An invalid body, and the status and code of its response."""

    id: str
    status: int
    code: str
    content: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    chunked: bool = False


def _typed(content_type: str) -> dict[str, str]:
    return {"Content-Type": content_type}


def _json(**more: str) -> dict[str, str]:
    return {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in more.items()}}


_GOOD = b'{"title": "%s"}' % SECRET.encode()

BODIES = [
    Bad("no body", 422, "invalid_input", b""),
    Bad("no body, no type", 422, "invalid_input", b"", {}),
    Bad("spaces", 400, "malformed_json", b"   "),
    Bad("null", 422, "invalid_input", b"null"),
    Bad("an array", 422, "invalid_input", b'["%s"]' % SECRET.encode()),
    Bad("a string", 422, "invalid_input", b'"%s"' % SECRET.encode()),
    Bad("a number", 422, "invalid_input", b"1"),
    Bad("true", 422, "invalid_input", b"true"),
    Bad("words", 400, "malformed_json", SECRET.encode()),
    Bad("half an object", 400, "malformed_json", b'{"title": "%s"' % SECRET.encode()),
    Bad("something after the object", 400, "malformed_json", _GOOD + SECRET.encode()),
    Bad("two objects", 400, "malformed_json", _GOOD + _GOOD),
    Bad("a trailing comma", 400, "malformed_json", b'{"title": "a",}'),
    Bad("single quotes", 400, "malformed_json", b"{'title': 'a'}"),
    Bad("a comment", 400, "malformed_json", b'{"title": "a" /* b */}'),
    Bad("a line feed in a text", 400, "malformed_json", b'{"title": "a\nb"}'),
    Bad("an invalid escape", 400, "malformed_json", rb'{"title": "\x41"}'),
    Bad("NUL as a byte", 400, "malformed_json", b'{"title": "\x00"}'),
    Bad("a byte order mark", 400, "malformed_json", b"\xef\xbb\xbf" + _GOOD),
    Bad("invalid UTF-8", 400, "malformed_json", b'{"title": "\xff"}'),
    Bad("overlong UTF-8", 400, "malformed_json", b'{"title": "\xc0\xaf"}'),
    Bad("half a surrogate pair in UTF-8", 400, "malformed_json", b'{"title": "\xed\xa0\x80"}'),
    Bad("UTF-16", 400, "malformed_json", _GOOD.decode().encode("utf-16")),
    Bad("an unknown field", 422, "invalid_input", b'{"nonsense": "%s"}' % SECRET.encode()),
    Bad("the owner", 422, "invalid_input", b'{"user_id": "%s"}' % SECRET.encode()),
    Bad("a field of Python's", 422, "invalid_input", b'{"__class__": "%s"}' % SECRET.encode()),
    Bad("an empty name", 422, "invalid_input", b'{"": 1}'),
    Bad("NUL in a name", 422, "invalid_input", rb'{"a\u0000": 1}'),
    Bad("a name of a megabyte", 422, "invalid_input", b'{"%s": 1}' % (b"a" * MEGABYTE)),
    Bad("half a surrogate pair in a name", 422, "invalid_input", rb'{"\ud800": 1}'),
    Bad("50,000 names", 422, "invalid_input", b"{%s}" % b",".join(b'"k%d":1' % n for n in range(50_000))),
    Bad("one name 50,000 times", 422, "invalid_input", b"{%s}" % b",".join([b'"nonsense":1'] * 50_000)),
    Bad("100,000 arrays deep", 400, "malformed_json", b"[" * 100_000 + b"]" * 100_000),
    Bad("100,000 objects deep", 400, "malformed_json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    Bad("100,000 deep in a field", 400, "malformed_json", b'{"title":%s}' % (b"[" * 100_000 + b"]" * 100_000)),
    Bad("a number of a million digits", 400, "malformed_json", b'{"title":%s}' % (b"1" * MEGABYTE)),
    Bad("10 MB", 413, "content_too_large", b'{"title":"%s"}' % (b"a" * 10 * MEGABYTE)),
    Bad("10 MB in chunks", 413, "content_too_large", b'{"title":"%s"}' % (b"a" * 10 * MEGABYTE), chunked=True),
    Bad("10 MB declared", 413, "content_too_large", b"{}", _json(Content_Length="10000000")),
    Bad("a negative length", 400, "malformed_request", b"{}", _json(Content_Length="-1")),
    Bad("a length in words", 400, "malformed_request", b"{}", _json(Content_Length="abc")),
    Bad("a length in base 16", 400, "malformed_request", b"{}", _json(Content_Length="0x2")),
    Bad("a length of 10,000 digits", 400, "malformed_request", b"{}", _json(Content_Length="9" * 10_000)),
    Bad("no type", 415, "unsupported_media_type", _GOOD, {}),
    Bad("an empty type", 415, "unsupported_media_type", _GOOD, _typed("")),
    Bad("a form", 415, "unsupported_media_type", b"title=a", _typed("application/x-www-form-urlencoded")),
    Bad("multipart", 415, "unsupported_media_type", b"--a--", _typed("multipart/form-data; boundary=a")),
    Bad("text", 415, "unsupported_media_type", _GOOD, _typed("text/plain")),
    Bad("text/json", 415, "unsupported_media_type", _GOOD, _typed("text/json")),
    Bad("a type with the same beginning", 415, "unsupported_media_type", _GOOD, _typed("application/jsonp")),
    Bad("a wildcard", 415, "unsupported_media_type", _GOOD, _typed("application/*")),
    Bad("two types in one", 415, "unsupported_media_type", _GOOD, _typed("application/json, text/plain")),
    Bad("JSON in UTF-16", 415, "unsupported_media_type", _GOOD, _typed("application/json; charset=utf-16")),
    Bad("JSON in Latin-1", 415, "unsupported_media_type", _GOOD, _typed('application/json;charset="iso-8859-1"')),
    Bad("a wrong type before a large body", 415, "unsupported_media_type", b"a" * 10 * MEGABYTE, _typed("text/plain")),
    Bad("compressed", 415, "unsupported_media_type", b"\x1f\x8b\x08", _json(Content_Encoding="gzip")),
]

_HALF_PAIRS = [r'"\ud800"', r'"\udc00"', r'"a\ud800b"', r'"\ud800\u0041"']
_NO_TEXTS = [
    "1",
    "1.5",
    "true",
    "[]",
    "{}",
    f'["{SECRET}"]',
    "NaN",
    "-Infinity",
    "1e400",
    "1" + "0" * 400,
    '"a\\u0000"',
]
_NO_DATES = [
    "2026-02-30",
    "2025-02-29",
    "2026-13-01",
    "2026-00-10",
    "2026-1-1",
    "20260310",
    "2026-W10-2",
    "10.03.2026",
    "0000-01-01",
    "10000-01-01",
    "-2026-03-10",
    "2026-03-10T25:99:00Z",
    "2026-03-10T24:00:01Z",
    "2026-03-10T09:00:00+99:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "25:99",
    "0",
    "",
    " ",
    "tomorrow",
    SECRET,
    "2026-03-10" * 10_000,
]  # fmt: skip

# Values as JSON, by field. Every operation that accepts the field rejects them.
VALUES: dict[str, list[str]] = {
    "title": [*_NO_TEXTS, *_HALF_PAIRS, "null", '""', '"   "', f'"{SECRET * 100}"'],
    "description": [*_NO_TEXTS, *_HALF_PAIRS, f'"{SECRET * 10_001}"'],
    "status": [*_NO_TEXTS, *_HALF_PAIRS, "null", '""', f'"{SECRET}"', '"PENDING"', '"pending "'],
    "priority": [*_NO_TEXTS, *_HALF_PAIRS, "null", '""', f'"{SECRET}"', '"urgent"'],
    "due_date": [*_NO_TEXTS, *_HALF_PAIRS, *(f'"{text}"' for text in _NO_DATES)],
    "id": [*_NO_TEXTS, *_HALF_PAIRS, '""', f'"{SECRET}"', '"018f0000-0000-7000-8000-00000000000"', '"0"'],
    "name": [*_NO_TEXTS, *_HALF_PAIRS, "null", '""', '"   "', f'"{SECRET * 100}"'],
    "color": [*_NO_TEXTS, *_HALF_PAIRS, '""', f'"{SECRET}"', '"#12345"', '"#1234567"'],
    "archived": ["null", "0", "[]", '"true"', f'"{SECRET}"', *_HALF_PAIRS],
    "after_id": [*_NO_TEXTS, *_HALF_PAIRS, '""', f'"{SECRET}"'],
    "before_id": [*_NO_TEXTS, *_HALF_PAIRS, '""', f'"{SECRET}"'],
}


@pytest.fixture
async def task(alice: AsyncClient) -> dict[str, Any]:
    """Return a task of Alice that no request may change."""
    return await add_task(alice, description="Untouched", due_date="2026-03-10")


@pytest.fixture
async def unchanged(alice: AsyncClient, task: dict[str, Any]) -> AsyncIterator[None]:
    """Assert at the end that Alice has only this task, unchanged."""
    yield
    page = (await alice.get("/tasks")).json()
    assert (page["tasks"], page["total"]) == ([task], 1)


def operations(app: FastAPI, *, must: bool = False) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and body properties of the operations that accept JSON; with ``must``, that require it."""
    specification = app.openapi()
    for path, item in specification["paths"].items():
        for method, operation in item.items():
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            if schema is not None and (operation["requestBody"].get("required") or not must):
                name = schema.get("$ref", "").rpartition("/")[2]
                resolved = specification["components"]["schemas"].get(name, schema)
                yield method.upper(), path, resolved.get("properties", {})


def address(path: str, task: dict[str, Any]) -> str:
    """Replace every path parameter with the task's id, so that only the body or the query can be invalid."""
    return re.sub(r"\{\w+\}", task["id"], path.removeprefix("/api/v1"))


async def send(client: AsyncClient, method: str, path: str, bad: Bad) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(bad.content), 65_536):
            yield bad.content[start : start + 65_536]

    content = chunks() if bad.chunked else bad.content
    request = client.build_request(method, path, content=content, headers=bad.headers)
    if "Content-Type" not in bad.headers:
        request.headers.pop("Content-Type", None)
    return await client.send(request)


def assert_problem(response: Response) -> None:
    """Assert that the response is a complete problem document and does not repeat the input."""
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail", "code", "request_id"}
    assert (problem["status"], problem["request_id"]) == (response.status_code, response.headers["x-request-id"])
    assert SECRET not in response.text
    assert len(response.content) < 4_096


# Task: T-064
@pytest.mark.usefixtures("unchanged")
class TestInvalidBodies:
    @pytest.mark.parametrize("bad", BODIES, ids=[bad.id for bad in BODIES])
    async def test_invalid_bodies_are_rejected_by_every_operation(
        self, app: FastAPI, alice: AsyncClient, task: dict[str, Any], bad: Bad
    ) -> None:
        answered = {}
        for method, path, _ in operations(app, must=bad.content in (b"", b"null")):
            started = time.process_time()
            response = await send(alice, method, address(path, task), bad)
            assert time.process_time() - started < ENOUGH_SECONDS
            assert_problem(response)
            answered[method, path] = response.status_code, response.json()["code"]

        assert ("POST", "/api/v1/tasks") in answered
        assert answered == dict.fromkeys(answered, (bad.status, bad.code))

    @pytest.mark.parametrize("name", VALUES)
    async def test_invalid_field_values_are_rejected_by_every_operation(
        self, app: FastAPI, alice: AsyncClient, task: dict[str, Any], name: str
    ) -> None:
        takers = [each for each in operations(app) if name in each[2]]
        wrong = []
        for method, path, properties in takers:
            # Required fields, so that only the tested field is invalid.
            needed = {"title": '"milk"', "name": '"milk"', "query": "{}"}
            other = "".join(f'"{one}": {value}, ' for one, value in needed.items() if one in properties and one != name)
            for value in VALUES[name]:
                bad = Bad("", 422, "invalid_input", f'{{{other}"{name}": {value}}}'.encode())
                response = await send(alice, method, address(path, task), bad)
                assert_problem(response)
                pointers = [error["pointer"] for error in response.json().get("errors", ())]
                # A lone surrogate is not valid JSON text, so the error points at the whole body.
                expected = ["/body"] if value in _HALF_PAIRS else [f"/body/{name}"]
                if (response.status_code, pointers) != (422, expected):
                    wrong.append((method, path, value[:40], response.status_code, pointers))

        assert takers
        assert wrong == []


# Task: T-064
class TestUnknownFields:
    async def test_errors_point_at_unknown_fields(self, alice: AsyncClient) -> None:
        response = await alice.post("/tasks", json={"title": "milk", "titel": SECRET, "a/b~c": 1})

        assert response.json()["errors"] == [
            {"pointer": "/body/titel", "detail": "There is no such field here."},
            {"pointer": "/body/a~1b~0c", "detail": "There is no such field here."},
        ]
        assert_problem(response)

    async def test_pointers_to_unknown_fields_are_cut_after_100_characters(self, alice: AsyncClient) -> None:
        response = await alice.post("/tasks", json={"title": "milk", "a" * 5_000: SECRET})

        assert [error["pointer"] for error in response.json()["errors"]] == ["/body/" + "a" * 100]

    async def test_unknown_fields_are_not_listed_if_there_are_more_than_50(self, alice: AsyncClient) -> None:
        response = await alice.post("/tasks", json={f"field-{number}": 1 for number in range(100)})

        assert response.json()["errors"] == [{"pointer": "/body", "detail": "There are more than 50 errors here."}]


# Task: T-064
class TestValidBodies:
    """Unusual but valid bodies."""

    @pytest.mark.parametrize(
        "content_type",
        [
            "application/json; charset=utf-8",
            'Application/JSON;charset="UTF-8"',
            "application/merge-patch+json",
            "application/json;profile=a",
        ],
    )
    async def test_every_json_media_type_is_accepted(self, alice: AsyncClient, content_type: str) -> None:
        response = await alice.post("/tasks", content=b'{"title": "milk"}', headers=_typed(content_type))

        assert response.status_code == 201

    async def test_last_value_wins_if_a_name_is_repeated(self, alice: AsyncClient) -> None:
        content = b'{"title": 1, "title": "milk", "title": "bread"}'

        response = await alice.post("/tasks", content=content, headers=_json())

        assert response.json()["title"] == "bread"

    @pytest.mark.parametrize(
        ("content", "title"),
        [
            (rb'{"title": "\ud83e\udd5b"}', "\U0001f95b"),
            ('{"title": "\U0001f95b"}'.encode(), "\U0001f95b"),
            (b'  {"title": "a"}\r\n', "a"),
            (b'{"title": "\xe2\x80\xae"}', "\u202e"),
            (rb'{"title": "\u000a\u007f"}', "\x7f"),
        ],
    )
    async def test_any_character_is_accepted_in_text(self, alice: AsyncClient, content: bytes, title: str) -> None:
        response = await alice.post("/tasks", content=content, headers=_json())

        assert (response.status_code, response.json()["title"]) == (201, title)

    async def test_largest_possible_task_is_accepted(self, alice: AsyncClient) -> None:
        content = b'{"title": "%s", "description": "%s"}' % (rb"\ud83e\udd5b" * 200, rb"\ud83e\udd5b" * 10_000)

        response = await alice.post("/tasks", content=content, headers=_json())

        assert (response.status_code, len(response.json()["description"])) == (201, 10_000)


QUERIES = [
    ("skip=-1", "/query/skip"),
    ("skip=1.0", "/query/skip"),
    ("skip=1e3", "/query/skip"),
    ("skip=1_0", "/query/skip"),
    ("skip=%2B1", "/query/skip"),
    ("skip=+1", "/query/skip"),
    ("skip=%D9%A1", "/query/skip"),
    ("skip=%00", "/query/skip"),
    ("skip=", "/query/skip"),
    ("skip=true", "/query/skip"),
    ("skip=2147483648", "/query/skip"),
    ("skip=" + "9" * 5_000, "/query/skip"),
    ("limit=0", "/query/limit"),
    ("limit=101", "/query/limit"),
    ("limit=1&limit=2", "/query/limit"),
    ("limit=NaN", "/query/limit"),
    (f"status={SECRET}", "/query/status/0"),
    ("status=", "/query/status/0"),
    ("status=pending&status=x", "/query/status/1"),
    ("status_filter=PENDING", "/query/status_filter/0"),
    ("priority=pending", "/query/priority/0"),
    ("nonsense=1", "/query/nonsense"),
    ("a/b=1", "/query/a~1b"),
    ("=1", "/query/"),
    ("%F0%9F%A5%9B=1", "/query/\U0001f95b"),
]


# Task: T-064
class TestInvalidQueries:
    @pytest.mark.parametrize(("query", "pointer"), QUERIES, ids=[query[:30] for query, _ in QUERIES])
    async def test_invalid_query_is_rejected_with_a_pointer_to_the_parameter(
        self, alice: AsyncClient, query: str, pointer: str
    ) -> None:
        response = await alice.get(f"/tasks?{query}")

        problem = response.json()
        assert (response.status_code, problem["code"]) == (422, "invalid_input")
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
        assert_problem(response)

    @pytest.mark.parametrize("query", ["skip=%FF", "status=%ED%A0%80", "%C0%AF=1", "&".join(["status=pending"] * 201)])
    async def test_unreadable_query_is_rejected_as_malformed(self, alice: AsyncClient, query: str) -> None:
        response = await alice.get(f"/tasks?{query}")

        assert (response.status_code, response.json()["code"]) == (400, "malformed_request")
        assert_problem(response)

    async def test_unknown_query_parameter_is_rejected_by_operations_without_parameters(
        self, app: FastAPI, alice: AsyncClient
    ) -> None:
        task = await add_task(alice)
        answered = {}
        for path, item in app.openapi()["paths"].items():
            for method, operation in item.items():
                if any(parameter["in"] == "query" for parameter in operation.get("parameters", ())):
                    continue
                filled_in = re.sub(r"\{\w+\}", task["id"], path.replace("{revision}", str(task["revision"])))
                url = f"http://todo.test{filled_in}?nonsense=1"
                response = await alice.request(method.upper(), url, json={"title": "milk"})
                pointers = [error["pointer"] for error in response.json()["errors"]]
                # The body is valid for some of the operations only.
                answered[method, path] = response.status_code, "/query/nonsense" in pointers

        assert ("put", "/api/v1/tasks/{task_id}") in answered
        assert answered == dict.fromkeys(answered, (422, True))


_ID = "018f0000-0000-7000-8000-000000000000"
PATHS = [
    ("/tasks/", 404, "not_found"),
    ("//tasks", 404, "not_found"),
    ("/tasks//", 404, "not_found"),
    (f"/tasks//{_ID}", 404, "not_found"),
    (f"/tasks/{_ID}/", 404, "not_found"),
    (f"/tasks/{_ID}//complete", 404, "not_found"),
    (f"/tasks/{_ID}%2Fcomplete", 404, "not_found"),
    (f"/tasks%2f{_ID}", 404, "not_found"),
    ("/Tasks", 404, "not_found"),
    ("/tasks%20", 404, "not_found"),
    ("/tasks%00", 404, "not_found"),
    ("/tasks;a=1", 404, "not_found"),
    ("/tasks/..%2f..%2fme", 404, "not_found"),
    ("/tasks/%2e%2e", 422, "invalid_input"),
    ("/tasks/%00", 422, "invalid_input"),
    ("/tasks/%FF", 422, "invalid_input"),
    ("/tasks/%ED%A0%80", 422, "invalid_input"),
    (f"/tasks/{SECRET}", 422, "invalid_input"),
    ("/tasks/0", 422, "invalid_input"),
    ("/tasks/null", 422, "invalid_input"),
    (f"/tasks/{_ID}%00", 422, "invalid_input"),
    (f"/tasks/{_ID[:-1]}", 422, "invalid_input"),
    (f"/tasks/{_ID[:-1]}g", 422, "invalid_input"),
    (f"/tasks/{_ID}'--", 422, "invalid_input"),
    ("/tasks/" + "9" * 10_000, 422, "invalid_input"),
    ("/" + "a" * 10_000, 404, "not_found"),
    ("/" + "a/" * 5_000, 404, "not_found"),
    ("/%zz", 404, "not_found"),
]


# Task: T-064
class TestInvalidPaths:
    @pytest.mark.parametrize(("path", "status", "code"), PATHS, ids=[path[:40] for path, _, _ in PATHS])
    async def test_invalid_path_is_rejected(self, alice: AsyncClient, path: str, status: int, code: str) -> None:
        response = await alice.get(f"http://todo.test/api/v1{path}")

        assert (response.status_code, response.json()["code"]) == (status, code)
        assert_problem(response)

    @pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/api", "/nowhere", "//api/v1/tasks", "/api//v1/tasks"])
    async def test_trailing_slash_is_not_redirected(self, anonymous: AsyncClient, path: str) -> None:
        response = await anonymous.get(f"http://todo.test{path}/")

        assert response.status_code in {401, 404}
        assert_problem(response)

    async def test_unnecessarily_encoded_path_reaches_the_same_operation(
        self, alice: AsyncClient, anonymous: AsyncClient
    ) -> None:
        path = "http://todo.test/%61pi/v1/t%61sks"

        responses = await alice.get(path), await anonymous.get(path)

        assert [response.status_code for response in responses] == [200, 401]


# Task: T-064
class TestOrderOfChecks:
    """Checks run in a fixed order. No response reveals whether a resource exists before the earlier checks pass."""

    async def test_request_with_several_errors_is_rejected_for_the_first_check_that_fails(
        self, alice: AsyncClient, anonymous: AsyncClient
    ) -> None:
        everything_wrong: dict[str, Any] = {
            "url": "http://todo.test/api/v1/tasks/nonsense?nonsense=1",
            "content": b"a" * 2 * MEGABYTE,
            "headers": {"Content-Type": "text/plain"},
        }
        large = {**everything_wrong, "headers": _json()}
        malformed = {**large, "content": b"{"}
        invalid = {**large, "content": b"{}"}

        answers = [
            await anonymous.patch(**everything_wrong),
            await alice.request("POST", **everything_wrong),
            await alice.patch(**everything_wrong),
            await alice.patch(**large),
            await alice.patch(**malformed),
            await alice.patch(**invalid),
            await alice.patch(f"/tasks/{uuid4()}", json={}),
        ]

        assert [answer.status_code for answer in answers] == [401, 405, 415, 413, 400, 422, 404]

    async def test_body_of_a_request_with_a_wrong_method_is_not_read(self, alice: AsyncClient) -> None:
        asked = []

        async def body() -> AsyncIterator[bytes]:
            asked.append(True)
            yield b"{}"

        response = await alice.patch("/tasks", content=body())

        assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, POST")
        assert asked == []
