"""Wait for a database that is starting or resuming."""

import time

import psycopg

# Waiting does not help against these: wrong password, missing database or role, no rule in pg_hba.conf.
_FINAL = ("authentication failed", "does not exist", "no pg_hba.conf entry")
_PAUSE_SECONDS = 0.2


class Unreachable(Exception):
    """The database does not accept connections. The message is one line, without the password."""


# Task: T-025
def wait(url: str, *, seconds: float) -> None:
    """Try to connect until the database answers, for at most ``seconds``. Blocks. Raises Unreachable."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(url, connect_timeout=max(2, int(deadline - time.monotonic()))).close()
        except psycopg.ProgrammingError:
            # Its message would quote the connection string.
            raise Unreachable("the connection string cannot be read") from None
        except psycopg.OperationalError as error:
            reason = _reason(error)
            if time.monotonic() + _PAUSE_SECONDS > deadline or any(word in reason for word in _FINAL):
                raise Unreachable(reason) from None
        else:
            return
        time.sleep(_PAUSE_SECONDS)


def _reason(error: psycopg.OperationalError) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].removeprefix("connection failed: ").removeprefix("connection is bad: ").strip()
