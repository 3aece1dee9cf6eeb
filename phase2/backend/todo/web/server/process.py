"""A serving process: uvicorn, with our protocols and limits."""

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from todo.web.server.http_protocol import HttpProtocol
from todo.web.server.websocket_protocol import MAX_MESSAGE_BYTES, WebSocketProtocol

MAX_CONNECTIONS = 2_000
SHUTDOWN_SECONDS = 10
# Longer than the usual 60 seconds of load balancers, so that we never close a connection that one is about to use.
_KEEP_ALIVE_SECONDS = 75


class StartupFailed(Exception):
    """The application did not start. Its log contains the reason."""


# Task: T-018
def serve(make_app: Callable[[], ASGIApp], listener: socket.socket) -> None:
    """Serve the application until SIGINT or SIGTERM, then finish the requests in flight.

    A second SIGINT does not wait for them, and raises KeyboardInterrupt. Raises StartupFailed.
    """
    config = uvicorn.Config(
        make_app,
        factory=True,
        http=HttpProtocol,
        lifespan="on",
        ws=WebSocketProtocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        # Compression would cost more memory than the rest of a connection.
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        # Nothing depends on the client's address, and any client can send these headers.
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = uvicorn.Server(config)
    try:
        server.run([listener])
    except KeyboardInterrupt:
        # uvicorn raises the signal again after it has shut down.
        if server.force_exit:
            raise
    except SystemExit:
        raise StartupFailed from None
