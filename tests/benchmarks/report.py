"""The results: tables on the terminal, a JSON file, a plot, and the tables of docs/benchmark.md."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks import plot
from support.repository import ROOT

# specs/003-speed: the lower bounds of conventional/ours and the upper bounds of ours/bare, each as (floor, goal).
GOALS = {
    "read one": ((3.3, 4.5), (2.6, 1.8)),
    "list 50, total": ((6.0, 9.0), (1.8, 1.3)),
    "create": ((2.5, 3.5), (2.4, 1.7)),
    "patch": ((2.5, 3.5), (2.4, 1.7)),
}
# specs/004-full-task: the highest allowed cost ratio for a thousand times as many tasks.
FINDING_GOAL = 3.0
# The page with the tables, and the marks around them.
PAGE = ROOT / "docs/benchmark.md"
# specs/005-readable-codebase: the highest allowed ratio of the cost through PgBouncer to the direct cost.
POOLED_GOAL = 1.3
_WORST = 5
BEGIN, END = "<!-- benchmark -->", "<!-- /benchmark -->"
_PEERS = ("ours", "conventional", "bare")

Report = Mapping[str, Any]
Figures = Mapping[str, float]


def show(report: Report) -> None:
    """Print all tables and remarks."""
    heads = ("operation", "peer", "1/s", "p50 ms", "p99 ms", "app us", "PostgreSQL us", "CPU us", "trips")
    _table((*heads, _away(report)), list(_operations(report)))
    _table(("CPU per request", "conventional/ours", "floor", "goal", "ours/bare", "floor", "goal"), _ratios(report))
    for growth in ("growth_of_a_user", "growth_of_the_table"):
        (few, small), (many, large) = report[growth].items()
        _table(("CPU us", few, many, "ratio"), [_compared(name, small[name], large[name]) for name in small])
    finding, *rows = _finding(report)
    _table(finding, rows)
    if report["pooled"]:
        worst, *rows = _worst_pooled(report)
        _table(worst, rows)
    log = [_compared(name, how["without"], how["with"]) for name, how in report["without_the_log"].items()]
    _table(("CPU us", "without the log", "with it", "ratio"), log)
    _say("\n".join(_remarks(report)))


# Task: T-207
def write(report: Report, directory: Path) -> None:
    """Write ``benchmark.json`` and ``benchmark.svg``."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "benchmark.json").write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    bars = [
        (name, {peer: (f["app_us"], f["database_us"]) for peer, f in report["operations"][name].items()})
        for name in GOALS
    ]
    (directory / "benchmark.svg").write_text(plot.svg(bars), encoding="utf-8")


# Task: T-207
def written_into(page: str, report: Report) -> str:
    """Return the page with these figures between its two marks. Raises ValueError if the marks are missing."""
    block = "\n".join([BEGIN, "", *_markdown(report), "", END])
    changed, count = re.subn(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block, page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{PAGE.name} has to have {BEGIN} and {END} once")
    return changed


def _markdown(report: Report) -> Iterator[str]:
    yield "![CPU per request, of ours, of the conventional way, and of the limit](benchmark.svg)"
    yield ""
    heads = ("CPU per request, µs", *_PEERS, "conventional / ours", "ours / bare", "trips", _away(report))
    yield f"| {' | '.join(heads)} |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for name, peers in report["operations"].items():
        cpu = [f"{_cpu(peers[peer]):,.0f}" if peer in peers else "" for peer in _PEERS]
        ratios = ["", ""]
        if "bare" in peers:
            ratios = [_over(peers["conventional"], peers["ours"]), _over(peers["ours"], peers["bare"])]
        away = report["network"][name]["ours"]
        yield f"| {' | '.join([name, *cpu, *ratios, format(away['trips'], '.1f'), format(away['p50_ms'], '.1f')])} |"
    yield ""
    finding, *rows = _dearest(report)
    yield f"| {' | '.join(finding)} |"
    yield "|---|--:|--:|--:|--:|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
    if report["pooled"]:
        worst, *rows = _worst_pooled(report)
        yield f"| {' | '.join(worst)} |"
        yield "|---|--:|--:|--:|--:|--:|"
        for row in rows:
            yield f"| {' | '.join(row)} |"
        yield ""
    for remark in _remarks(report):
        yield f"* {remark}"


def _remarks(report: Report) -> Iterator[str]:
    """Yield the results that are not in tables as sentences."""
    memory = ", ".join(f"{name} {mb:.0f} MB" for name, mb in report["memory_mb"].items())
    yield f"A worker after the load: {memory} (goal for ours: 110)"
    yield f"Start with existing data to the first answer: {report['start_seconds']:.1f} s (goal: 3)"
    (few, small), (many, large) = report["growth_of_a_user"].items()
    page = "list 50, total"
    yield f"The first page of {many} costs {_over(large[page], small[page])} times that of {few} (goal: 1.3)"
    dear = [name for name, sizes in report["finding"].items() if _growth(sizes) > FINDING_GOAL]
    yield (
        f"Of {len(report['finding'])} ways to find tasks {len(report['finding']) - len(dear)} cost at most"
        f" {FINDING_GOAL:g} times as much among {many} as among {few}"
        + (f"; these cost more: {', '.join(dear)}" if dear else "")
    )
    yield from _pooled_remarks(report)
    if followed := report["live"]:
        yield (
            f"Live: {followed['clients']:,} clients, {followed['events']:,} events;"
            " from the start of a write to the event"
            f" p50 {followed['p50_ms']:.1f} ms, p99 {followed['p99_ms']:.1f} ms;"
            f" {followed['memory_kb_per_connection']:.0f} KB per connection,"
            f" {followed['connections_in_1_gb']:,} in a worker of 1 GB"
        )
    on = report["machine"]
    yield (
        f"A {'quick' if report['quick'] else 'full'} run on {on['processors']} processors,"
        f" Python {on['python']}, PostgreSQL {on['postgresql']}; load by {on['load']}"
    )


def _operations(report: Report) -> Iterator[Sequence[str]]:
    for name, peers in report["operations"].items():
        for peer, f in peers.items():
            away = report["network"][name][peer]
            yield (
                name if peer == "ours" else "", peer,
                f"{f['per_second']:,.0f}", f"{f['p50_ms']:.2f}", f"{f['p99_ms']:.2f}", f"{f['app_us']:,.0f}",
                f"{f['database_us']:,.0f}", f"{_cpu(f):,.0f}", f"{away['trips']:.1f}", f"{away['p50_ms']:.1f}",
            )  # fmt: skip


def _ratios(report: Report) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for name, (least, most) in GOALS.items():
        peers = report["operations"][name]
        ours, bare = _over(peers["conventional"], peers["ours"]), _over(peers["ours"], peers["bare"])
        rows.append((name, ours, *map(str, least), bare, *map(str, most)))
    return rows


def _compared(name: str, less: Figures, more: Figures) -> Sequence[str]:
    return name, f"{_cpu(less):,.0f}", f"{_cpu(more):,.0f}", _over(more, less)


def _finding(report: Report) -> Iterator[Sequence[str]]:
    """Yield the heading, and a row for each query."""
    few, many = next(iter(report["finding"].values()))
    yield ("finding, CPU us", few, many, "ratio", "goal")
    for name, sizes in report["finding"].items():
        yield (*_compared(name, sizes[few], sizes[many]), f"{FINDING_GOAL:g}")


def _dearest(report: Report) -> Iterator[Sequence[str]]:
    """Yield the heading, and for each kind of query the one whose cost grows most."""
    few, many = next(iter(report["finding"].values()))
    yield ("CPU per page, µs; the fastest growing of each kind", few, many, "ratio", "goal")
    fastest_growing: dict[str, tuple[str, Mapping[str, Figures]]] = {}
    for name, sizes in report["finding"].items():
        kind = name.partition(":")[0]
        if kind not in fastest_growing or _growth(sizes) > _growth(fastest_growing[kind][1]):
            fastest_growing[kind] = name, sizes
    for name, sizes in fastest_growing.values():
        yield (*_compared(name, sizes[few], sizes[many]), f"{FINDING_GOAL:g}")


def _worst_pooled(report: Report) -> Iterator[Sequence[str]]:
    """Yield the heading, and for each mode of PgBouncer the requests whose cost it raises most."""
    yield ("CPU through PgBouncer, µs; the worst", "directly", "pooled", "ratio", "goal", "PgBouncer's own")
    for mode, requests in report["pooled"]["modes"].items():
        for name in sorted(requests, key=lambda name: -_pooled_ratio(requests[name]))[:_WORST]:
            one = requests[name]
            compared = _compared(f"{name} ({mode})", one["direct"], one["pooled"])
            yield (*compared, f"{POOLED_GOAL:g}", f"{one['pooler_us']:,.0f}")


def _pooled_remarks(report: Report) -> Iterator[str]:
    if not report["pooled"]:
        yield "Nothing was measured through PgBouncer, which is not installed"
        return
    for mode, requests in report["pooled"]["modes"].items():
        within = [name for name, one in requests.items() if _pooled_ratio(one) <= POOLED_GOAL]
        yield (
            f"Through PgBouncer {report['pooled']['version']}, where {mode}, {len(within)} of {len(requests)} kinds of"
            f" request cost at most {POOLED_GOAL:g} times as much as directly"
        )


def _pooled_ratio(one: Mapping[str, Any]) -> float:
    return _cpu(one["pooled"]) / _cpu(one["direct"])


def _growth(sizes: Mapping[str, Figures]) -> float:
    small, large = sizes.values()
    return _cpu(large) / _cpu(small)


def _away(report: Report) -> str:
    return f"p50 ms, {report['delay_ms']:g} ms away"


def _cpu(figures: Figures) -> float:
    return figures["app_us"] + figures["database_us"]


def _over(one: Figures, other: Figures) -> str:
    return f"{_cpu(one) / _cpu(other):.2f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with text aligned left and figures aligned right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, ["-" * width for width in widths], *rows):
        cells = [
            cell.rjust(width) if n and not heads[n].startswith("peer") else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        _say("  ".join(cells).rstrip())
    _say()


def _say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
