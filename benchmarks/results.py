"""From what was measured to figures: medians, ratios within a round, aims met or not."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.model import Aim, Entry, Measured, Task


@dataclass(frozen=True, slots=True)
class Verdict:
    """An aim, and what became of it."""

    aim: str
    figure: float | None
    """None: not measured."""
    is_met: bool
    against: str = ""
    """The contestant that was the best of those compared with."""


def task_result(task: Task, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return a task as it is written to the results file."""
    ours = next(entry for entry in entries if entry.contestant.kind == "ours")
    limit = next((entry for entry in entries if entry.contestant.kind == "limit"), None)
    return {
        "name": task.name,
        "title": task.title,
        "network": asdict(task.network),
        "columns": dict(task.columns),
        "shows_rates": task.shows_rates,
        "contestants": [_contestant(entry, ours, limit) for entry in entries],
        "aims": [asdict(verdict(aim, entries)) for aim in task.aims],
    }


def _contestant(entry: Entry, ours: Entry, limit: Entry | None) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": entry.contestant.name,
        "kind": entry.contestant.kind,
        "settings": dict(entry.settings),
        "trials": [{"settings": dict(one), "seconds": seconds} for one, seconds in entry.trials],
        "failure": entry.failure,
        "rounds": [asdict(one) for one in entry.rounds],
    }
    if entry.rounds and not entry.failure:
        result |= {
            "frames_per_second": statistics.median(
                one.frames / one.seconds for one in entry.rounds
            ),
            "figures": _figures(entry),
        }
        if ours.rounds and not ours.failure:
            result["ours_is"] = ratio(ours, entry, "seconds")
        if limit is not None and limit.rounds and not limit.failure:
            result["of_the_limit"] = ratio(entry, limit, "seconds")
    return result


def verdict(aim: Aim, entries: Sequence[Entry]) -> Verdict:
    """Return True if an aim is reached."""
    ours = next(entry for entry in entries if entry.contestant.kind == "ours")
    if not ours.rounds or ours.failure:
        return Verdict(_words(aim), None, is_met=False)
    if not aim.against:
        figure = value(ours, aim.measure)
        return Verdict(_words(aim), figure, is_met=_fits(aim, figure))
    others = [
        (ratio(ours, entry, aim.measure), entry.contestant.name)
        for entry in entries
        if entry.contestant.name in aim.against and entry.rounds and not entry.failure
    ]
    if not others:
        return Verdict(_words(aim), None, is_met=False)
    figure, best = min(others)
    if aim.at_most is not None:
        figure = 1 / figure
    return Verdict(_words(aim), figure, is_met=_fits(aim, figure), against=best)


def _words(aim: Aim) -> str:
    """Return the bound and its reference: ``≥ 4 × boto3``, ``≥ 0.90 of the limit``, ``≤ 50 µs``."""
    if aim.at_most is not None:
        number = f"≤ {aim.at_most:g}"
    elif aim.at_least is not None and aim.at_least < 1:
        number = f"≥ {aim.at_least:.2f}"
    else:
        number = f"≥ {aim.at_least:g} ×"
    return f"{number} {aim.text}"


def _fits(aim: Aim, figure: float) -> bool:
    return (aim.at_least is None or figure >= aim.at_least) and (
        aim.at_most is None or figure <= aim.at_most
    )


def ratio(ours: Entry, other: Entry, measure: str) -> float:
    """Return the ratio of the other's time or amount to ours: the median over the rounds."""
    return statistics.median(
        _of(theirs, measure) / _of(mine, measure)
        for mine, theirs in zip(ours.rounds, other.rounds, strict=True)
    )


def value(entry: Entry, measure: str) -> float:
    return statistics.median(_of(one, measure) for one in entry.rounds)


def _of(measured: Measured, measure: str) -> float:
    if measure != "seconds":
        return measured.figures[measure]
    # Of one that went through a part of the frames, as long as all would have taken.
    return measured.seconds * measured.figures.get("parts", 1)


def _figures(entry: Entry) -> Mapping[str, float]:
    """Medians: CPU a frame, of the contestant and of what served it; and its own figures."""
    figures = {name: value(entry, name) for name in entry.rounds[0].figures}
    figures["seconds"] = value(entry, "seconds")
    figures["cpu_seconds"] = statistics.median(one.cpu_seconds for one in entry.rounds)
    frames = entry.rounds[0].frames
    if frames:
        for name, field in (
            ("cpu_ms", "cpu_seconds"),
            ("server_cpu_ms", "server_cpu_seconds"),
            ("proxy_cpu_ms", "proxy_cpu_seconds"),
        ):
            median = statistics.median(getattr(one, field) for one in entry.rounds)
            figures[name] = 1000 * median / frames
    return figures
