"""Tests wait for conditions instead of sleeping: a sleep hides a race, and is too short on a busy machine."""

import ast
from collections.abc import Iterator
from pathlib import Path

from support.repository import ROOT

TESTS = ROOT / "tests"

# Where a test may sleep, and why.
SLEEPS = {
    "support/helpers.py eventually": "polls for a condition, with a bound",
    "support/helpers.py grace_period": "gives something that must not happen time to happen",
    "support/processes.py until": "polls for a condition, with a bound, in a thread",
    "benchmarks/servers.py _listening": "polls for a condition, with a bound",
    "support/raw_http.py send_slowly": "a client that sends slowly",
    "web/test_bodies.py trickle": "a client that sends slowly",
    "web/server/test_http_protocol_answers.py test_response_reaches_a_client_that_reads_slowly": (
        "a client that reads slowly"
    ),
    "support/issuer.py _trickle": "an issuer that answers slowly",
    "sync/test_kill.py send": "a client that repeats unanswered requests",
    "database/test_idempotency.py insist": "a client that repeats unanswered requests",
    "database/test_idempotency.py kill": "an administrator who keeps killing connections",
    "architecture/isolation/test_pooler.py test_users_are_isolated_when_some_requests_are_cancelled": (
        "clients disconnect at any time"
    ),
    "services/test_live.py test_channel_is_removed_when_its_follower_is_cancelled_at_any_time": (
        "clients disconnect at any time"
    ),
    "benchmarks/live.py measure": "a benchmark that writes at a steady pace",
}


def sleeps_in(tree: ast.AST, function: str = "") -> Iterator[str]:
    """Yield the name of the innermost function of each call of a ``sleep`` that is not ``sleep(0)``."""
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"asyncio.sleep", "time.sleep", "sleep"}:
            is_zero = isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
            if not is_zero:
                yield function
        yield from sleeps_in(node, inner)


def all_sleeps() -> set[str]:
    return {
        f"{path.relative_to(TESTS)} {function}"
        for path in Path(TESTS).rglob("*.py")
        for function in sleeps_in(ast.parse(path.read_text(encoding="utf-8")))
    }


# Task: T-473
def test_tests_sleep_only_where_a_reason_is_given() -> None:
    assert all_sleeps() == set(SLEEPS)


def test_sleep_is_found_in_any_function_unless_it_is_zero_seconds() -> None:
    source = "async def f():\n await asyncio.sleep(0)\n def g():\n  time.sleep(0.1)\n await asyncio.sleep(pause)"

    assert list(sleeps_in(ast.parse(source))) == ["g", "f"]
