"""The logs of all loggers of the process, on standard error: JSON lines, or readable text on a terminal.

No personal data may reach a log through an exception: PostgreSQL, pydantic and Python quote values in their messages
(``Key (email)=(alice@...) already exists``). Therefore the text of an exception is never written, not even if it is an
argument of a log message. Its type, its names (SQLSTATE, constraint, errno) and its stack frames are written instead.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import orjson
from structlog.dev import ConsoleRenderer
from structlog.processors import JSONRenderer
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# uvicorn's ``color_message`` is the message again, for a terminal.
_EXCLUDED_ATTRIBUTES = _STANDARD_ATTRIBUTES | {"color_message"}
_MAX_CAUSES = 5
_MAX_FRAMES = 30
_ERROR_ATTRIBUTES = ("sqlstate", "constraint", "errno")

_requests = logging.getLogger("todo.request")


class ResponseAborted(Exception):
    """A response that has started cannot be finished. Raised to the server; the cause was logged before."""


# Task: T-044
# Task: T-468
def configure(level: str) -> None:
    """Send the logs of all loggers, of ``level`` and above, to standard error. Idempotent."""
    is_terminal = sys.stderr.isatty()
    handler = terminal_handler() if is_terminal else json_handler()
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    request_log.handler = None if is_terminal else handler
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        server = logging.getLogger(name)
        server.handlers, server.propagate = [], True
    # uvicorn's line per request would show query strings. ``Tracing`` writes ours.
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
    # The pool's logger writes three lines per request about taking and returning a connection.
    logging.getLogger("psycopg.pool").setLevel(logging.WARNING)


def json_handler(stream: TextIO | None = None) -> "Handler":
    """Return a handler that writes JSON lines: time (UTC), level, logger, message, and the record's extra fields."""
    return Handler(stream, _fields_of_record, JSONRenderer(serializer=_line))


def terminal_handler(stream: TextIO | None = None, *, colors: bool | None = None) -> "Handler":
    """Return a handler that writes text for people. It escapes control characters, which could forge lines."""
    colors = "NO_COLOR" not in os.environ if colors is None else colors
    renderer = ConsoleRenderer(
        colors=colors, event_key="message", timestamp_key="time", repr_native_str=True, pad_event_to=0
    )
    return Handler(stream, _fields_of_record, _fields_for_terminal, renderer)


class Handler(logging.Handler):
    """Writes each record with one call. If ``stream`` is ``None``, uses the ``sys.stderr`` of that moment."""

    def __init__(self, stream: TextIO | None, *processors: Processor) -> None:
        super().__init__()
        self._stream = stream
        # ``getMessage`` of the record would format exceptions among the arguments.
        self.setFormatter(ProcessorFormatter(processors=processors, use_get_message=False, pass_foreign_args=True))

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and isinstance(record.exc_info[1], ResponseAborted):
            return
        try:
            self.write(self.format(record))
        except Exception:  # noqa: BLE001  A log that cannot be written must not fail the request.
            self.handleError(record)

    def write(self, line: str) -> None:
        """Write one line."""
        (self._stream or sys.stderr).write(f"{line}\n")


# Task: T-044
class RequestLog:
    """The log of requests: one line each.

    With a ``handler`` of JSON lines, it writes to that handler directly, and no other handler sees these lines. This
    takes 2 us; a record and structlog's processors would take 8 us.
    """

    def __init__(self, handler: Handler | None = None) -> None:
        self.handler = handler

    def write(self, fields: Mapping[str, Any]) -> None:
        """Write the line of a request. An error while writing does not fail the request."""
        if not _requests.isEnabledFor(logging.INFO):
            return
        if self.handler is None:
            # ``makeRecord`` does not search for the calling frame, which would double the cost.
            record = _requests.makeRecord(_requests.name, logging.INFO, "", 0, "request", (), None, extra=dict(fields))
            _requests.handle(record)
            return
        with suppress(Exception):
            self.handler.write(
                _line(
                    {
                        "time": datetime.now(UTC),
                        "level": "INFO",
                        "logger": _requests.name,
                        "message": "request",
                        **fields,
                    }
                )
            )


request_log = RequestLog()


def _fields_of_record(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of a record. structlog passes the record's arguments separately."""
    record: logging.LogRecord = event["_record"]
    error = (event.get("exc_info") or (None, None))[1]
    message = _message(record.msg, event.get("positional_args"))
    content: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC),
        "level": record.levelname,
        "logger": record.name,
        # asyncio adds the exception's text in further lines.
        "message": message.partition("\n")[0] if error else message,
    }
    content |= {
        name: _without_exception_text(value) for name, value in vars(record).items() if name not in _EXCLUDED_ATTRIBUTES
    }
    if error:
        content["errors"] = [_fields_of_error(each) for each in _chain(error)]
    return content


def _fields_for_terminal(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields for a terminal: the local time of day, and exceptions in lines of their own."""
    lines = []
    for error in event.pop("errors", ()):
        frames = error.pop("frames")
        lines += [" ".join(str(value) for value in error.values()), *(f"  {frame}" for frame in frames)]
    return {
        **event,
        "time": event["time"].astimezone().strftime("%H:%M:%S"),
        "level": event["level"].lower(),
        "message": "".join(each if each.isprintable() else ascii(each)[1:-1] for each in event["message"]),
        **({"exception": "\n".join(lines)} if lines else {}),
    }


def _line(content: Mapping[str, Any], **_: Any) -> str:
    try:
        line = orjson.dumps(content, default=_type_name, option=orjson.OPT_UTC_Z).decode()
    except TypeError:
        # Text from outside that is not valid Unicode, such as half a surrogate pair.
        line = json.dumps({name: ascii(value) for name, value in content.items()})
    # orjson does not escape the line ends and control characters outside of ASCII; json does.
    return line if line.isascii() else json.dumps(orjson.loads(line))


def _message(message: object, arguments: Any) -> str:
    if not arguments:
        return str(_without_exception_text(message))
    if isinstance(arguments, Mapping):
        return str(message) % {name: _without_exception_text(value) for name, value in arguments.items()}
    return str(message) % tuple(map(_without_exception_text, arguments))


def _without_exception_text(value: object) -> object:
    """Replace exceptions by their types, also in lists and mappings: their text can contain what a user sent."""
    if isinstance(value, BaseException):
        return _type_name(value)
    if isinstance(value, Mapping):
        return {name: _without_exception_text(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_exception_text(each) for each in value]
    return value


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes, at most five exceptions."""
    current: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if current is None:
            return
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _fields_of_error(error: BaseException) -> dict[str, Any]:
    names = {name: getattr(error, name, None) for name in _ERROR_ATTRIBUTES}
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
    return frames[-_MAX_FRAMES:]


def _type_name(value: object) -> str:
    return f"<{type(value).__name__}>"
