"""Showing results: as text, and as tables and plots in docs/performance.md."""

from pathlib import Path
from typing import Any


def as_text(results: dict[str, Any]) -> str:
    lines = []
    for task in results["tasks"]:
        lines += ["", f"## {task['title']} ({task['name']})"]
        for one in task["contestants"]:
            if one["failure"]:
                lines.append(f"  {one['name']}: {one['failure']}")
            else:
                lines.append(
                    f"  {one['name']}: {one['frames_per_second']:.0f}/s {one['seconds']:.3f} s x{one.get('ours_is', 0):.2f} {one['settings']} { {k: round(v, 2) for k, v in one['figures'].items()} } {[(t['settings'], round(t['seconds'], 2)) for t in one['trials']]}"
                )
        for aim in task["aims"]:
            lines.append(f"  {aim}")
    return "\n".join(lines)


def render(path: Path) -> None:
    pass
