"""The plot for the documentation: CPU per request, one bar per peer, with PostgreSQL's share in a lighter colour."""

from collections.abc import Mapping, Sequence

_LEFT, _WIDTH, _BAR, _GAP, _TOP = 150, 720, 16, 14, 64
_COLOURS = {"ours": ("#0f766e", "#5eead4"), "conventional": ("#9f1239", "#fda4af"), "bare": ("#475569", "#cbd5e1")}
_FONT = "font-family='system-ui, sans-serif' font-size='12' fill='#64748b'"

Bars = Mapping[str, tuple[float, float]]
"""CPU in microseconds of the application and of PostgreSQL, by peer."""


# Task: T-207
def svg(groups: Sequence[tuple[str, Bars]]) -> str:
    """Draw one group of bars per operation. The longest bar reaches the right edge."""
    longest = max(sum(bar) for _, bars in groups for bar in bars.values())
    scale = (_WIDTH - _LEFT - 90) / longest
    parts: list[str] = []
    y = _TOP
    for title, bars in groups:
        parts.append(
            f"<text x='{_LEFT - 10}' y='{y + len(bars) * _BAR / 2 + 4}' text-anchor='end' {_FONT}>{title}</text>"
        )
        for name, (application, database) in bars.items():
            parts += _bar(y, name, application * scale, database * scale, f"{application + database:,.0f}")
            y += _BAR
        y += _GAP
    legend = [_entry(_LEFT + 130 * n, name) for n, name in enumerate(_COLOURS)]
    words = "CPU per request in microseconds (light: PostgreSQL's part). Less is better."
    heading = f"<text x='{_LEFT}' y='20' {_FONT}>{words}</text>"
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {y}' width='{_WIDTH}' height='{y}' role='img'>"
    )
    return "\n".join([head, "<title>CPU per request</title>", heading, *legend, *parts, "</svg>", ""])


def _bar(y: int, name: str, application: float, database: float, label: str) -> list[str]:
    dark, light = _COLOURS[name]
    height = _BAR - 3
    return [
        f"<rect x='{_LEFT}' y='{y}' width='{application:.1f}' height='{height}' fill='{dark}'/>",
        f"<rect x='{_LEFT + application:.1f}' y='{y}' width='{database:.1f}' height='{height}' fill='{light}'/>",
        f"<text x='{_LEFT + application + database + 6:.1f}' y='{y + height - 2}' {_FONT}>{label}</text>",
    ]


def _entry(x: int, name: str) -> str:
    return (
        f"<rect x='{x}' y='34' width='12' height='12' fill='{_COLOURS[name][0]}'/>"
        f"<text x='{x + 18}' y='44' {_FONT}>{name}</text>"
    )
