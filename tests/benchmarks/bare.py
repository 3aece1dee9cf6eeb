"""The limit in Python: an ASGI function with psycopg and hand-written SQL, without framework, validation or policies.

PostgreSQL renders the JSON of a single task; for many, orjson is cheaper. A token is verified once and then looked up
in a cache. This code is for comparison only.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import jwt
import orjson
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

SECRET = os.environ.get("JWT_SECRET", "")

_NAMES = (
    "id", "title", "description", "status", "priority", "due_date", "due_time_zone", "start_date", "recurrence",
    "series_id", "last_completed_at", "category_id", "tags", "parent_id", "subtasks_total", "subtasks_completed",
    "position", "trashed_at", "created_at", "updated_at", "completed_at", "revision",
)  # fmt: skip
_PAIRS = ", ".join(f"'{name}', {name}" for name in _NAMES)
_TASK = f"json_build_object({_PAIRS})::text"
_READ = f"SELECT {_TASK} FROM tasks WHERE user_id = %s AND id = %s"
_LIST = (
    f"SELECT {', '.join(_NAMES)},"
    " (SELECT coalesce(sum(tasks), 0)::bigint FROM task_counts WHERE user_id = %(user)s {which})"
    " FROM tasks WHERE user_id = %(user)s AND trashed_at IS NULL {which}"
    " ORDER BY created_at DESC, id DESC LIMIT %(limit)s OFFSET %(skip)s"
)
_LIST_ALL, _LIST_STATUS = _LIST.format(which=""), _LIST.format(which="AND status = %(status)s")
_CREATE = (
    "INSERT INTO tasks (user_id, id, title, description, status, priority, due_date, created_at, updated_at,"
    " revision, creation_digest) VALUES (%s, %s, %s, %s, %s, %s, %s, now(), now(), 0, '')"
    f" RETURNING {_TASK}"
)
_COMPLETE = (
    "UPDATE tasks SET status = 'completed', completed_at = coalesce(completed_at, now()), updated_at = now()"
    f" WHERE user_id = %s AND id = %s RETURNING {_TASK}"
)
_DELETE = (
    "UPDATE tasks SET trashed_at = now(), trash_id = id, updated_at = now() WHERE user_id = %s AND id = %s RETURNING ''"
)
_CHANGE = "UPDATE tasks SET {assignments}, updated_at = now() WHERE user_id = %s AND id = %s" + f" RETURNING {_TASK}"
_COLUMNS = (
    "title", "description", "priority", "due_date", "due_time_zone", "start_date", "category_id", "parent_id",
)  # fmt: skip

_ROOT = "/api/v1/tasks"
# Generic plans, as in our application: with custom plans, requests would cost twice as much.
_CONNECTING = {"autocommit": True, "options": "-c plan_cache_mode=force_generic_plan"}
_pools: list[AsyncConnectionPool[AsyncConnection[Any]]] = []
_users: dict[bytes, str] = {}


# Task: T-203
async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer one request."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    user = _user(next(value for name, value in scope["headers"] if name == b"authorization"))
    sql, values, status = _statement(scope, user, await _body(receive) if scope["method"] in ("POST", "PATCH") else b"")
    async with _pools[0].connection() as connection:
        rows = await (await connection.execute(sql, values, prepare=True)).fetchall()
    if "limit" in values:
        content, status = _page(rows), 200
    else:
        content, status = (rows[0][0].encode(), status) if rows else (b'{"detail": "Not Found"}', 404)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _page(rows: Sequence[Any]) -> bytes:
    tasks = [dict(zip(_NAMES, row, strict=False)) for row in rows]
    total = rows[0][-1] if rows else 0
    following = f"{tasks[-1]['created_at'].isoformat()} {tasks[-1]['id']}" if len(rows) < total else None
    page = {"total": total, "total_is_exact": True, "page": 1, "page_size": len(rows), "next_cursor": following}
    return orjson.dumps({"tasks": tasks, **page})


def _statement(scope: Any, user: str, body: bytes) -> tuple[str, Sequence[Any] | Mapping[str, Any], int]:
    method, path = scope["method"], scope["path"]
    if path == _ROOT:
        if method == "GET":
            query = dict(parse_qsl(scope["query_string"].decode()))
            values = {"user": user, "limit": 50, "skip": 0, **query}
            return (_LIST_STATUS if "status" in query else _LIST_ALL), values, 200
        new = {"status": "pending", "priority": "medium", **orjson.loads(body)}
        names = ("title", "description", "status", "priority", "due_date")
        return _CREATE, (user, uuid4(), *map(new.get, names)), 201
    task_id = path[len(_ROOT) + 1 :].removesuffix("/complete")
    if method == "GET":
        return _READ, (user, task_id), 200
    if method == "DELETE":
        return _DELETE, (user, task_id), 204
    if method == "POST":
        return _COMPLETE, (user, task_id), 200
    changed = {name: value for name, value in orjson.loads(body).items() if name in _COLUMNS}
    assignments = ", ".join(f"{name} = %s" for name in changed)
    return _CHANGE.format(assignments=assignments), (*changed.values(), user, task_id), 200


def _user(authorization: bytes) -> str:
    user = _users.get(authorization)
    if user is None:
        claims = jwt.decode(authorization.removeprefix(b"Bearer "), SECRET, algorithms=["HS256"])
        user = _users[authorization] = claims["sub"]
    return user


async def _body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def _live(receive: Any, send: Any) -> None:
    async with AsyncConnectionPool(
        os.environ["DATABASE_URL"], min_size=2, max_size=10, kwargs=_CONNECTING, open=False
    ) as pool:
        _pools.append(pool)
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})
