"""Logs: JSON lines, or text in a terminal. They contain no text of users."""

import asyncio
import io
import logging
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from todo.database.errors import DatabaseError
from todo.web import logs
from todo.web.logs import RequestLog, ResponseAborted, json_handler, terminal_handler

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> io.StringIO:
    """The stream that the handler writes to."""
    return io.StringIO()


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    """A function that returns the written lines, parsed."""
    return lambda: [orjson.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def log(stream: io.StringIO) -> Iterator[logging.Logger]:
    """A logger that writes only to the stream."""
    logger = logging.getLogger("todo.some")
    logger.handlers, logger.propagate = [json_handler(stream)], False
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.handlers.clear()


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Restore the logging of the process after the test."""
    names = [None, "uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access"]
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    direct = logs.request_log.handler
    yield
    logs.request_log.handler = direct
    for logger, handlers, level, propagate in before:
        logger.handlers = handlers
        logger.setLevel(level)
        logger.propagate = propagate


# Task: T-044
class TestJsonLines:
    def test_json_line_has_time_in_utc_level_logger_message_and_fields(self, log: logging.Logger, lines: Lines) -> None:
        before = datetime.now(UTC)
        log.warning("%s came", "something", extra={"request_id": "abc", "user_id": None, "milliseconds": 1.25})
        after = datetime.now(UTC)

        [line] = lines()
        written = datetime.fromisoformat(line.pop("time"))
        assert written.utcoffset() == timedelta(0)
        # The time is truncated to milliseconds.
        assert before - timedelta(milliseconds=1) <= written <= after
        assert line == {
            "level": "WARNING",
            "logger": "todo.some",
            "message": "something came",
            "request_id": "abc",
            "user_id": None,
            "milliseconds": 1.25,
        }

    def test_json_line_stays_one_ascii_line_for_any_text(
        self, log: logging.Logger, lines: Lines, stream: io.StringIO
    ) -> None:
        forged = 'a\r\n{"level": "CRITICAL"}\x1b[2J\u2028\x85\x9b"'

        log.info(forged, extra={"path": forged})

        [line] = lines()
        assert (line["message"], line["path"]) == (forged, forged)
        assert stream.getvalue().isascii()

    def test_json_line_contains_the_repr_of_values_that_json_cannot_encode(
        self, log: logging.Logger, lines: Lines
    ) -> None:
        log.info("half \ud800", extra={"what": "\udc00"})
        log.info("object", extra={"what": object()})

        assert [(line["message"], line["what"]) for line in lines()] == [
            ("'half \\ud800'", "'\\udc00'"),
            ("object", "<object>"),
        ]

    def test_json_line_of_an_exception_shows_type_and_frames_but_not_its_message(
        self, log: logging.Logger, lines: Lines, stream: io.StringIO
    ) -> None:
        def fail() -> None:
            try:
                dict[str, int]()["alice@example.com"]
            except KeyError as cause:
                raise DatabaseError("23505", "uq_user_email") from cause

        try:
            fail()
        except DatabaseError:
            log.exception("unhandled")

        [line] = lines()
        error, cause = line["errors"]
        assert (error["type"], error["sqlstate"], error["constraint"]) == (
            "todo.database.errors.DatabaseError",
            "23505",
            "uq_user_email",
        )
        assert error["frames"][-1].startswith(f"{__file__}:")
        assert error["frames"][-1].endswith("fail")
        assert cause["type"] == "builtins.KeyError"
        assert "alice@example.com" not in stream.getvalue()

    @pytest.mark.parametrize(
        ("message", "arguments"),
        [
            ("error connecting in %r: %s", ("pool-1", ValueError("alice"))),
            ("%(what)s", ({"what": ValueError("alice")},)),
            (ValueError("alice"), ()),
        ],
        ids=["argument", "named argument", "message"],
    )
    def test_exception_in_a_message_is_logged_as_its_type(
        self, log: logging.Logger, lines: Lines, stream: io.StringIO, message: object, arguments: tuple[Any, ...]
    ) -> None:
        log.warning(message, *arguments)

        [line] = lines()
        assert line["message"].endswith("<ValueError>")
        assert "alice" not in stream.getvalue()

    def test_exceptions_among_the_fields_are_logged_as_their_types(self, log: logging.Logger, lines: Lines) -> None:
        log.info("m", extra={"reason": ValueError("secret"), "reasons": [{"one": KeyError("secret")}]})

        [line] = lines()
        assert (line["reason"], line["reasons"]) == ("<ValueError>", [{"one": "<KeyError>"}])

    def test_json_line_has_no_colours(self, log: logging.Logger, lines: Lines) -> None:
        log.info("Finished [%d]", 1, extra={"color_message": "Finished [\x1b[36m%d\x1b[0m]"})

        [line] = lines()
        assert {name: line[name] for name in line if name != "time"} == {
            "level": "INFO",
            "logger": "todo.some",
            "message": "Finished [1]",
        }

    def test_json_line_has_at_most_five_causes_and_thirty_frames_each(self, log: logging.Logger, lines: Lines) -> None:
        def recurse(depth: int) -> None:
            if depth == 0:
                raise ValueError
            try:
                recurse(depth - 1)
            except ValueError as error:
                raise ValueError from error

        try:
            recurse(100)
        except ValueError:
            log.exception("unhandled")

        [line] = lines()
        assert len(line["errors"]) == 5
        assert all(len(error["frames"]) <= 30 for error in line["errors"])

    def test_json_line_hides_the_text_of_an_exception_that_asyncio_reports(
        self, lines: Lines, stream: io.StringIO, log: logging.Logger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("asyncio.base_events.logger", log)
        loop = asyncio.new_event_loop()

        loop.call_exception_handler({"message": "lost", "exception": ValueError("alice"), "future": "alice"})

        loop.close()
        assert [line["message"] for line in lines()] == ["lost"]
        assert "alice" not in stream.getvalue()

    def test_broken_response_is_not_logged_a_second_time(self, log: logging.Logger, lines: Lines) -> None:
        log.error("Exception in ASGI application\n", exc_info=ResponseAborted())

        assert lines() == []

    def test_logging_to_a_closed_stream_does_not_raise(
        self, monkeypatch: pytest.MonkeyPatch, log: logging.Logger, stream: io.StringIO
    ) -> None:
        monkeypatch.setattr("logging.raiseExceptions", False)
        stream.close()

        log.info("unheard")


# Task: T-044
@pytest.mark.usefixtures("logging_restored")
class TestConfigure:
    def test_all_loggers_write_json_lines_to_standard_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.configure("INFO")

        logging.getLogger("todo.request").info("ours")
        logging.getLogger("uvicorn.error").info("the server's")
        logging.getLogger("uvicorn.error").debug("too fine")

        output = capsys.readouterr()
        assert [orjson.loads(line)["message"] for line in output.err.splitlines()] == ["ours", "the server's"]
        assert output.out == ""

    def test_access_log_of_uvicorn_is_silent(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.configure("DEBUG")

        logging.getLogger("uvicorn.access").info("GET /?secret")

        assert not logging.getLogger("uvicorn.access").hasHandlers()
        assert capsys.readouterr().err == ""

    def test_pool_logs_only_warnings(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.configure("INFO")

        logging.getLogger("psycopg.pool").info("connection given")
        logging.getLogger("psycopg.pool").warning("error connecting")

        assert [orjson.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["error connecting"]

    def test_configuring_twice_writes_each_line_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.configure("INFO")
        logs.configure("WARNING")

        logs.request_log.write({"status": 200})
        logging.getLogger("todo").warning("once")

        assert [orjson.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["once"]


# Task: T-044
# Task: T-468
class TestRequestLog:
    def test_request_log_writes_its_fields(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            RequestLog().write({"status": 204, "path": "/a"})

        [record] = caplog.records
        assert (record.name, record.levelname, record.getMessage()) == ("todo.request", "INFO", "request")
        assert {"status": 204, "path": "/a"}.items() <= vars(record).items()

    @pytest.mark.usefixtures("logging_restored")
    def test_request_log_writes_the_same_line_directly_and_as_a_record(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fields = {"request_id": "abc", "user_id": None, "path": "/\u2028\x9b", "status": 200, "milliseconds": 1.25}
        direct, recorded = io.StringIO(), io.StringIO()
        root = logging.getLogger()
        root.setLevel(logging.INFO)
        monkeypatch.setattr(root, "handlers", [json_handler(recorded)])

        RequestLog(json_handler(direct)).write(fields)
        RequestLog().write(fields)

        line, other = (list(orjson.loads(stream.getvalue()).items()) for stream in (direct, recorded))
        assert (line[0][0], line[1:]) == (other[0][0], other[1:])
        assert line[0][0] == "time"
        assert fields.items() <= dict(line).items()
        assert direct.getvalue().isascii()

    @pytest.mark.usefixtures("logging_restored")
    def test_request_log_with_a_closed_stream_does_not_raise(self) -> None:
        closed = io.StringIO()
        closed.close()
        logging.getLogger().setLevel(logging.INFO)

        RequestLog(json_handler(closed)).write({"status": 200})


# Task: T-468
class TestTerminal:
    @pytest.fixture
    def log(self, stream: io.StringIO) -> Iterator[logging.Logger]:
        """A logger that writes to the stream in the format of a terminal."""
        logger = logging.getLogger("todo.some")
        logger.handlers, logger.propagate = [terminal_handler(stream, colors=False)], False
        logger.setLevel(logging.DEBUG)
        yield logger
        logger.handlers.clear()

    def test_terminal_line_is_text_with_the_time_of_day(self, log: logging.Logger, stream: io.StringIO) -> None:
        log.warning("%s came", "something", extra={"request_id": "abc", "status": 404})

        assert re.fullmatch(
            r"\d\d:\d\d:\d\d \[warning *\] something came +\[todo\.some\] request_id='abc' status=404\n",
            stream.getvalue(),
        )

    def test_control_characters_are_escaped_in_a_terminal(self, log: logging.Logger, stream: io.StringIO) -> None:
        forged = "a\r\n12:00:00 [critical] b\x1b[2J\u2028\x9b"

        log.info(forged, extra={"user_id": forged})

        [line] = stream.getvalue().split("\n")[:-1]
        assert line.isprintable()

    def test_exception_in_a_terminal_shows_type_and_frames_but_not_its_message(
        self, log: logging.Logger, stream: io.StringIO
    ) -> None:
        def fail() -> None:
            raise DatabaseError("23505", "uq_user_email") from KeyError("alice@example.com")

        try:
            fail()
        except DatabaseError:
            log.exception("unhandled %s", ValueError("alice@example.com"))

        output = stream.getvalue()
        assert "unhandled <ValueError>" in output
        assert "\ntodo.database.errors.DatabaseError 23505 uq_user_email\n" in output
        assert f"\n  {__file__}:" in output
        assert "\nbuiltins.KeyError" in output
        assert "alice" not in output

    @pytest.mark.usefixtures("logging_restored")
    def test_process_in_a_terminal_logs_text(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

        logs.configure("INFO")
        logs.request_log.write({"status": 200})

        assert re.search(r"\[info *\] request +\[todo\.request\] status=200\n", capsys.readouterr().err)
