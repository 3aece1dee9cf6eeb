"""Several processes that serve from one socket. A worker that ends is replaced; all are stopped together.

The supervisor blocks the signals that it waits for, and its workers inherit the mask. A terminal sends Ctrl-C to all of
them; so only the supervisor receives it. Otherwise a worker that is importing modules would end with a traceback.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess

from starlette.types import ASGIApp

from todo.web.server.process import StartupFailed, serve

_STARTUP_FAILED = 3

_log = logging.getLogger(__name__)
_spawn = multiprocessing.get_context("spawn")


# Task: T-463
def supervise(make_app: Callable[[], ASGIApp], listener: socket.socket, *, count: int) -> None:
    """Serve in ``count`` processes until SIGINT, SIGTERM or SIGHUP, then finish the requests in flight.

    ``make_app`` is pickled. A second signal does not wait, and raises KeyboardInterrupt. Raises StartupFailed.
    """
    with _blocked_signals() as signals:
        workers = [_start(make_app, listener) for _ in range(count)]
        is_stopping = failed = False
        while workers:
            if signal.sigwait(signals) != signal.SIGCHLD:
                if is_stopping:
                    _end(workers, SpawnProcess.kill)
                    raise KeyboardInterrupt
                is_stopping = True
                _stop(workers, listener)
            for ended in [worker for worker in workers if not worker.is_alive()]:
                workers.remove(ended)
                if is_stopping:
                    continue
                if ended.exitcode == _STARTUP_FAILED:
                    is_stopping = failed = True
                    _stop(workers, listener)
                else:
                    _log.error("a worker ended, another one starts", extra={"exit_code": ended.exitcode})
                    workers.append(_start(make_app, listener))
    if failed:
        raise StartupFailed


def _start(make_app: Callable[[], ASGIApp], listener: socket.socket) -> SpawnProcess:
    worker = _spawn.Process(target=_work, args=(make_app, listener))
    worker.start()
    return worker


def _stop(workers: list[SpawnProcess], listener: socket.socket) -> None:
    # No process accepts connections any more: new ones would wait in the queue without an answer.
    listener.close()
    _end(workers, SpawnProcess.terminate)


def _end(workers: list[SpawnProcess], how: Callable[[SpawnProcess], None]) -> None:
    for worker in workers:
        how(worker)


@contextmanager
def _blocked_signals() -> Iterator[set[signal.Signals]]:
    """Block the signals that end a process, and SIGCHLD, which reports the end of a worker. Yield them."""
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}
    # Under nohup, SIGHUP is ignored.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.add(signal.SIGHUP)
    # Spawned processes need the resource tracker, which unblocks signals when it starts.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    # Some systems discard an ignored signal even if it is blocked.
    handler = signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGCHLD, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(make_app: Callable[[], ASGIApp], listener: socket.socket) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    try:
        serve(make_app, listener)
    except StartupFailed:
        sys.exit(_STARTUP_FAILED)


def _end_with_parent() -> None:
    """Wait until the supervisor has ended, then end this worker. Nothing else ends it if the supervisor is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
