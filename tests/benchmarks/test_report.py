"""The output of the benchmark: tables, a JSON file, a plot, and its part of docs/benchmark.md."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import orjson
import pytest

from benchmarks import plot, report
from benchmarks.measure import OPERATIONS, Figures

COSTS = {"ours": (150.0, 50.0), "conventional": (900.0, 100.0), "bare": (80.0, 20.0)}
SVG = "{http://www.w3.org/2000/svg}"


def figures(application: float, database: float) -> dict[str, float]:
    return asdict(Figures(1_000.0, 1.0, 2.0, application, database))


@pytest.fixture
def found() -> dict[str, Any]:
    """The results of a run, in round figures."""
    away = {"trips": 1.0, "p50_ms": 6.0}
    operations = {one.name: {peer: figures(*COSTS[peer]) for peer in one.peers} for one in OPERATIONS}
    reads = {one.name: figures(150.0, 50.0) for one in OPERATIONS[:3]}
    dearer = {name: figures(150.0, 70.0) for name in reads}
    return {
        "operations": operations,
        "network": {name: dict.fromkeys(peers, away) for name, peers in operations.items()},
        "delay_ms": 5.0,
        "memory_mb": {"ours": 100.0, "conventional": 90.0, "bare": 50.0},
        "growth_of_a_user": {"100 tasks": reads, "100,000 tasks": dearer},
        "growth_of_the_table": {"10 users": reads, "100,000 users": reads},
        "finding": {
            "filter: none": {"100 tasks": figures(150.0, 50.0), "100,000 tasks": figures(150.0, 60.0)},
            "filter: tag": {"100 tasks": figures(150.0, 50.0), "100,000 tasks": figures(200.0, 200.0)},
            "sort: title": {"100 tasks": figures(150.0, 50.0), "100,000 tasks": figures(200.0, 600.0)},
        },
        "pooled": {
            "version": "1.24.1",
            "modes": {
                "names pass through": {
                    **{
                        f"sort: {number}": {
                            "direct": figures(150.0, 50.0), "pooled": figures(150.0, 60.0), "pooler_us": 20.0,
                        }
                        for number in range(5)
                    },
                    "filter: tag": {
                        "direct": figures(150.0, 50.0), "pooled": figures(200.0, 200.0), "pooler_us": 31.0,
                    },
                },
            },
        },
        "without_the_log": {"create": {"with": figures(100.0, 200.0), "without": figures(100.0, 100.0)}},
        "start_seconds": 1.25,
        "live": {
            "clients": 1_000, "events": 1_000, "p50_ms": 3.0, "p99_ms": 9.0,
            "memory_kb_per_connection": 50.0, "connections_in_1_gb": 18_000,
        },
        "machine": {"processors": 2, "python": "3.11.2", "postgresql": "18.1", "load": "wrk"},
        "quick": False,
    }  # fmt: skip


# Task: T-207
class TestPlot:
    def test_plot_has_proportional_bars(self) -> None:
        drawn = ET.fromstring(plot.svg([("read one", COSTS), ("create", COSTS)]))  # noqa: S314 - made here.

        # Two parts per bar, after one mark per peer in the legend.
        widths = [float(bar.attrib["width"]) for bar in drawn.iter(f"{SVG}rect")][len(COSTS) :]
        ours, ours_database, conventional, conventional_database, bare, bare_database = widths[:6]
        assert widths == widths[:6] * 2
        assert ours / ours_database == pytest.approx(3, rel=0.01)
        assert (conventional + conventional_database) / (bare + bare_database) == pytest.approx(10, rel=0.01)

    def test_plot_names_everything_and_fits_its_frame(self) -> None:
        drawn = ET.fromstring(plot.svg([("read one", COSTS), ("create", COSTS)]))  # noqa: S314 - made here.

        words = [text.text for text in drawn.iter(f"{SVG}text")]
        ends = [float(bar.attrib["x"]) + float(bar.attrib["width"]) for bar in drawn.iter(f"{SVG}rect")]
        assert {"read one", "create", "ours", "conventional", "bare", "200", "1,000", "100"} <= set(words)
        assert max(ends) < float(drawn.attrib["width"])


# Task: T-207
class TestShow:
    def test_report_prints_ratios_with_their_goals(
        self, found: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        report.show(found)

        lines = [re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines()]
        assert ["read one", "5.00", "3.3", "4.5", "2.00", "2.6", "1.8"] in lines
        assert ["list 50, total", "5.00", "6.0", "9.0", "2.00", "1.8", "1.3"] in lines
        assert ["read one", "ours", "1,000", "1.00", "2.00", "150", "50", "200", "1.0", "6.0"] in lines
        assert ["list by status", "200", "220", "1.10"] in lines
        assert ["create", "200", "300", "1.50"] in lines
        assert ["filter: tag", "200", "400", "2.00", "3"] in lines
        assert ["filter: tag (names pass through)", "200", "400", "2.00", "1.3", "31"] in lines
        assert len([line for line in lines if line[0].endswith("(names pass through)")]) == 5

    def test_report_says_that_pgbouncer_is_not_installed(
        self, found: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        report.show({**found, "pooled": None})

        output = capsys.readouterr().out
        assert "Nothing was measured through PgBouncer, which is not installed\n" in output
        assert "the worst" not in output

    def test_report_omits_live_events_if_they_were_not_measured(
        self, found: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        report.show(found)
        with_it = capsys.readouterr().out

        report.show({**found, "live": None})

        assert ("Live: 1,000 clients" in with_it, "Live:" in capsys.readouterr().out) == (True, False)


# Task: T-207
class TestWrite:
    def test_report_writes_json_and_a_plot(self, found: dict[str, Any], tmp_path: Path) -> None:
        report.write(found, tmp_path / "docs")

        assert orjson.loads((tmp_path / "docs/benchmark.json").read_bytes()) == found
        bars = [(name, COSTS) for name in report.GOALS]
        assert (tmp_path / "docs/benchmark.svg").read_text() == plot.svg(bars)


# Task: T-207
class TestPage:
    def test_tables_of_the_page_can_be_rewritten(self, found: dict[str, Any]) -> None:
        page = f"before\n\n{report.BEGIN}\nold\n{report.END}\n\nafter\n"

        once = report.written_into(page, found)

        assert report.written_into(once, found) == once
        assert (once.startswith("before\n"), once.endswith("\nafter\n"), "old" in once) == (True, True, False)
        assert "| read one | 200 | 1,000 | 100 | 5.00 | 2.00 | 1.0 | 6.0 |\n" in once
        assert "| list, 304 | 200 |  |  |  |  | 1.0 | 6.0 |\n" in once
        assert "| filter: tag | 200 | 400 | 2.00 | 3 |\n| sort: title | 200 | 800 | 4.00 | 3 |\n" in once
        assert "filter: none" not in once
        assert (
            "* Of 3 ways to find tasks 2 cost at most 3 times as much among 100,000 tasks as among 100 tasks;"
            " these cost more: sort: title\n"
        ) in once
        assert "](benchmark.svg)\n" in once
        assert "| filter: tag (names pass through) | 200 | 400 | 2.00 | 1.3 | 31 |\n" in once
        assert (
            "* Through PgBouncer 1.24.1, where names pass through, 5 of 6 kinds of request cost at most 1.3 times"
            " as much as directly\n"
        ) in once
        assert "* A full run on 2 processors, Python 3.11.2, PostgreSQL 18.1; load by wrk\n" in once

    def test_benchmark_page_has_its_marks(self, found: dict[str, Any]) -> None:
        page = report.PAGE.read_text(encoding="utf-8")

        assert report.written_into(page, found) != page

    def test_page_without_marks_is_rejected(self, found: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"benchmark\.md"):
            report.written_into("nothing", found)
