"""A bar chart as SVG: frames a second of each contestant, with the least and most of the rounds."""

from collections.abc import Mapping
from html import escape
from typing import Any, Final

WIDTH: Final = 720
LABEL: Final = 250
"""Pixels left of the bars."""
VALUE: Final = 60
"""Pixels right of the longest bar."""
ROW: Final = 24
COLOURS: Final = {"limit": "#9a9a9a", "ours": "#1f6f4a", "plain": "#c9a227", "peer": "#6b8fb5"}


def bars(task: Mapping[str, Any]) -> str:
    """Return the chart of a task, fastest first."""
    measured = [one for one in task["contestants"] if "figures" in one]
    measured.sort(key=lambda one: -one["frames_per_second"])
    most = max(rate for one in measured for rate in rates(one))
    scale = (WIDTH - LABEL - VALUE) / most
    height = ROW * len(measured) + ROW
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'font-family="sans-serif" font-size="12">'
        ),
        f"<title>{escape(task['title'])}: frames a second</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, one in enumerate(measured):
        lines += bar(one, scale, top=ROW * number + ROW // 2)
    return "\n".join([*lines, "</svg>", ""])


def bar(contestant: Mapping[str, Any], scale: float, *, top: int) -> list[str]:
    rate = contestant["frames_per_second"]
    least, most = (LABEL + scale * end for end in (min(rates(contestant)), max(rates(contestant))))
    middle = top + 8
    return [
        (
            f'<text x="{LABEL - 8}" y="{top + 12}" text-anchor="end">'
            f"{escape(contestant['name'])}</text>"
        ),
        (
            f'<rect x="{LABEL}" y="{top}" width="{scale * rate:.1f}" height="16" '
            f'fill="{COLOURS[contestant["kind"]]}"/>'
        ),
        f'<line x1="{least:.1f}" x2="{most:.1f}" y1="{middle}" y2="{middle}" stroke="black"/>',
        f'<text x="{max(most, LABEL + scale * rate) + 6:.1f}" y="{top + 12}">{rate:,.0f}</text>',
    ]


def rates(contestant: Mapping[str, Any]) -> list[float]:
    return [one["frames"] / one["seconds"] for one in contestant["rounds"]]
