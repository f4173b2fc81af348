"""Results as Markdown, on the terminal and in docs/performance.md."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import plots
from benchmarks.environments import ROOT

PAGE: Final = ROOT / "docs" / "performance.md"
PLOTS: Final = ROOT / "docs" / "performance"
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"
FEWEST_BARS: Final = 3

Json = Mapping[str, Any]


def render(paths: Sequence[Path], page: Path = PAGE, folder: Path = PLOTS) -> None:
    """Put the figures of results files, with plots, between the marks of the page."""
    runs = [json.loads(path.read_text()) for path in paths]
    folder.mkdir(exist_ok=True)
    for task in tasks(runs):
        if has_plot(task):
            (folder / f"{task['name']}.svg").write_text(plots.bars(task))
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{markdown(runs, plots_in=folder.name)}\n{END}{after}")


def markdown(runs: Sequence[Json], *, plots_in: str = "") -> str:
    """Return the report: place and time, all aims, then a table for each task."""
    parts = [*map(run, runs), aims(tasks(runs))]
    for task in tasks(runs):
        parts.append(f"### {task['title']}")
        parts.append(figures(task))
        parts += notes(task)
        if plots_in and has_plot(task):
            parts.append(f"![{task['title']}: frames a second]({plots_in}/{task['name']}.svg)")
    return "\n\n".join(part for part in parts if part) + "\n"


def tasks(runs: Sequence[Json]) -> list[Json]:
    """Those of all runs; of one that was run again, as it came out the last time."""
    found = {task["name"]: task for results in runs for task in results["tasks"]}
    return list(found.values())


def run(results: Json) -> str:
    began, ended = (results[name].replace("T", " ")[:16] for name in ("began", "ended"))
    return (
        f"Measured from {began} to {ended} UTC on {results['machine']}; framecache "
        f"{results['framecache']}; `{results['command']}`: {results['rounds']} rounds of "
        f"{results['frames']} frames, {results['mean_jpeg_bytes'] / 1000:.0f} kB each as a JPEG."
    )


def aims(measured: Sequence[Json]) -> str:
    """Return a table of the aims, and whether each was reached."""
    rows = [
        (task["title"], aim["aim"], shown(aim["figure"]), met(aim))
        for task in measured
        for aim in task["aims"]
    ]
    return f"### Aims\n\n{table(('task', 'aim', 'figure', 'met'), rows)}" if rows else ""


def met(aim: Json) -> str:
    if aim["figure"] is None:
        return "not measured"
    return "yes" if aim["is_met"] else "**no**"


def figures(task: Json) -> str:
    """Return a table of the results of each contestant."""
    measured = [one for one in task["contestants"] if "figures" in one]
    if not measured:
        return ""
    has_rates = task["shows_rates"]
    heads = ["", *(["frames/s", "least to most", "of the limit"] if has_rates else [])]
    heads += list(task["columns"].values())
    heads += ["server's CPU ms", "framecache is"] if has_rates else []
    rows = []
    for one in measured:
        row = [f"**{one['name']}**" if one["kind"] == "ours" else one["name"]]
        if has_rates:
            rates = [each["frames"] / each["seconds"] for each in one["rounds"]]
            row += [shown(one["frames_per_second"]), f"{shown(min(rates))} to {shown(max(rates))}"]
            row.append(shown(one.get("of_the_limit")))
        row += [shown(one["figures"].get(name)) for name in task["columns"]]
        if has_rates:
            row.append(shown(one["figures"].get("server_cpu_ms")))
            is_compared = one["kind"] != "ours" and "ours_is" in one
            row.append(f"{shown(one['ours_is'])}×" if is_compared else "")
        rows.append(row)
    return table(heads, rows)


def notes(task: Json) -> Iterator[str]:
    """Yield notes: contestants that did not run and why, and the settings of the others."""
    missing = [one for one in task["contestants"] if one["failure"]]
    if missing:
        yield "\n".join(f"- {one['name']}: {one['failure']}" for one in missing)
    tuned = [one for one in task["contestants"] if one["trials"] and not one["failure"]]
    if tuned:
        yield "Settings: " + "; ".join(f"{one['name']} {settings(one)}" for one in tuned) + "."


def settings(contestant: Json) -> str:
    """Return the fastest of the settings that were tried."""
    varying = {
        name
        for trial in contestant["trials"]
        for name, value in trial["settings"].items()
        if any(other["settings"].get(name) != value for other in contestant["trials"])
    }
    words = " and ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in contestant["settings"].items()
        if name in varying
    )
    return f"{words} (the fastest of {len(contestant['trials'])})"


def has_plot(task: Json) -> bool:
    bars = [one for one in task["contestants"] if "figures" in one]
    return task["shows_rates"] and len(bars) >= FEWEST_BARS


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *(["---:"] * (len(heads) - 1))], *rows]
    return "\n".join(re.sub(" +", " ", f"| {' | '.join(cells)} |") for cells in lines)


def shown(value: float | None) -> str:
    """Three digits that count, and no exponent."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
