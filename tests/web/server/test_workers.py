"""The supervisor of worker processes, run in a separate process."""

import subprocess
import sys
from pathlib import Path

from support.processes import TIMEOUT_SECONDS

SCRIPT = """
import socket
import sys

from todo.web.server.process import StartupFailed
from todo.web.server.workers import supervise


def make_app():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": ""})

    return app


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as listener:
        try:
            supervise(make_app, listener, count=2)
        except StartupFailed:
            print("startup failed")
"""


# Task: T-463
class TestSupervise:
    def test_workers_that_fail_to_start_are_not_restarted(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(SCRIPT)

        done = subprocess.run(
            [sys.executable, script], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )

        assert (done.returncode, done.stdout) == (0, "startup failed\n"), done.stderr
        assert "Traceback" not in done.stderr
