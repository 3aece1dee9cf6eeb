"""Logs: one JSON object per line on standard error, for every logger of the process.

No personal data may reach the log by way of an exception: PostgreSQL, pydantic and Python itself quote values in their
messages (``Key (email)=(alice@...) already exists``). So the text of an exception is never written, nor where a logger
is given one as an argument: its type, the names that it carries (SQLSTATE, constraint, errno), and the frames it passed
through are, and they are what finds a defect.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import orjson

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# The message once more, by uvicorn, for a terminal.
_LEFT_OUT = _STANDARD | {"color_message"}
_MOST_CAUSES = 5
_MOST_FRAMES = 30
_NAMES_OF_ERRORS = ("sqlstate", "constraint", "errno")

_requests = logging.getLogger("todo.request")


class AnswerBroken(Exception):
    """Raised towards the server where an answer that has begun cannot be finished; what happened is in the log."""


# Task: T-044
def configure(level: str) -> None:
    """Send the logs of ``level`` and above to standard error, in our form, whoever writes them."""
    root = logging.getLogger()
    root.handlers = [JsonLines()]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        server = logging.getLogger(name)
        server.handlers, server.propagate = [], True
    # The server's own line per request would show query strings; ours is written by Tracing.
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
    # It announces every loan of a connection, in three lines per request.
    logging.getLogger("psycopg.pool").setLevel(logging.WARNING)


def log_request(fields: Mapping[str, Any]) -> None:
    """Write the line of a request: without a record of it where nobody but ``JsonLines`` would see one."""
    if not _requests.isEnabledFor(logging.INFO):
        return
    match logging.getLogger().handlers:
        case [JsonLines() as lines]:
            now = datetime.now(UTC)
            # A log that cannot be written must not fail the request, and there is nowhere to say so.
            with suppress(Exception):
                lines.write({"time": now, "level": "INFO", "logger": _requests.name, "message": "request", **fields})
        case _:
            # It does not look for its caller, which would cost as much as the rest.
            record = _requests.makeRecord(_requests.name, logging.INFO, "", 0, "request", (), None, extra=dict(fields))
            _requests.handle(record)


# Task: T-044
class JsonLines(logging.Handler):
    """Writes records as JSON: the time in UTC, the level, the logger, the message, and whatever the record adds.

    ``None`` for the stream is standard error as it is when a line is written, which passes every line on at once.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and isinstance(record.exc_info[1], AnswerBroken):
            return
        try:
            self.write(_content(record))
        except Exception:  # noqa: BLE001  A log that cannot be written must not fail the request.
            self.handleError(record)

    def write(self, content: Mapping[str, Any]) -> None:
        """Write one line."""
        (self._stream or sys.stderr).write(_line(content))


def _content(record: logging.LogRecord) -> dict[str, Any]:
    content: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC),
        "level": record.levelname,
        "logger": record.name,
        "message": _message(record),
    }
    if record.exc_info:
        # asyncio goes on with the exception's text in the lines below.
        content["message"] = content["message"].partition("\n")[0]
    content |= {name: value for name, value in vars(record).items() if name not in _LEFT_OUT}
    if record.exc_info and record.exc_info[1]:
        content["errors"] = [_described(error) for error in _chain(record.exc_info[1])]
    return content


def _line(content: Mapping[str, Any]) -> str:
    try:
        line = orjson.dumps(content, default=_type_name, option=orjson.OPT_UTC_Z).decode()
    except TypeError:
        # Text from outside that is no Unicode, such as half a surrogate pair.
        line = json.dumps({name: ascii(value) for name, value in content.items()})
    # Beyond ASCII there are more line ends and control characters than JSON escapes.
    return (line if line.isascii() else json.dumps(orjson.loads(line))) + "\n"


def _message(record: logging.LogRecord) -> str:
    if not record.args:
        return str(_unquoted(record.msg))
    if isinstance(record.args, Mapping):
        return str(record.msg) % {name: _unquoted(value) for name, value in record.args.items()}
    return str(record.msg) % tuple(map(_unquoted, record.args))


def _unquoted(value: object) -> object:
    return _type_name(value) if isinstance(value, BaseException) else value


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, then what caused it, at most five."""
    current: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if current is None:
            return
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _described(error: BaseException) -> dict[str, Any]:
    names = {name: getattr(error, name, None) for name in _NAMES_OF_ERRORS}
    return {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        **{name: value for name, value in names.items() if isinstance(value, str | int)},
        "frames": _frames(error.__traceback__),
    }


def _frames(traceback: TracebackType | None) -> list[str]:
    """Return the innermost frames, innermost last."""
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append(f"{code.co_filename}:{traceback.tb_lineno} {code.co_qualname}")
        traceback = traceback.tb_next
    return frames[-_MOST_FRAMES:]


def _type_name(value: object) -> str:
    return f"<{type(value).__name__}>"
