"""Extraction of many timelines, one after another or on a cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

import click

from framecache.cli.interrupts import add_interrupt_outcome
from framecache.cli.options import CacheSelection
from framecache.cli.output import format_count, format_elapsed, is_quiet, print_json
from framecache.cli.progress import chunks_progress, frames_progress
from framecache.cli.sentences import escape_unprintable
from framecache.errors import FrameCacheError, StorePermissionDenied, StoreUnavailable
from framecache.model import Chunk, ExtractReport

Engine = Literal["local", "ray"]
ENGINES: Final = get_args(Engine)

_INTERRUPTED: Final = "finished segments stay cached; extract again to continue"
_FAILURES_SHOWN: Final = 3

Reports = dict[str, ExtractReport]
Failures = dict[str, FrameCacheError]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Processes that extract."""

    engine: Engine
    """``local``: one timeline after another in this process. ``ray``: all on a cluster."""
    address: str | None
    """Address of the cluster; None: see `framecache.ray.extract`."""
    workers: int | None
    """Threads; on a cluster: of each chunk. None: the engine's default."""


def extract_many(
    choice: CacheSelection,
    timelines: Mapping[str, Sequence[str | Chunk]],
    settings: Mapping[str, Any],
    fleet: Fleet,
    *,
    as_json: bool,
) -> None:
    """Extract timelines, and print a line for each; the others are finished if some fail.

    Args:
        choice: the cache.
        timelines: chunks by timeline.
        settings: arguments of `Timeline.extract`.
        fleet: processes that extract.
        as_json: print one JSON document.
    """
    run = _extract_on_ray if fleet.engine == "ray" else _extract_locally
    with add_interrupt_outcome(_INTERRUPTED):
        reports, failures = run(choice, timelines, settings, fleet)
    if as_json:
        _print_json(reports, failures)
    elif not is_quiet():
        for report in reports.values():
            click.echo(escape_unprintable(headline(report)))
    if failures:
        raise _failure(failures, len(timelines))


def headline(report: ExtractReport) -> str:
    """Return the result of an extraction in one line."""
    if not report.chunks_extracted:
        return f"{report.timeline_id}: already cached, nothing to do"
    rate = report.frames_extracted / report.seconds if report.seconds else 0.0
    return (
        f"{report.timeline_id}: {format_count(report.frames_extracted, 'frame')} extracted in "
        f"{format_elapsed(report.seconds)}, {rate:,.0f} frames/s"
    )


def _extract_on_ray(
    choice: CacheSelection,
    timelines: Mapping[str, Sequence[str | Chunk]],
    settings: Mapping[str, Any],
    fleet: Fleet,
) -> tuple[Reports, Failures]:
    from framecache.ray import ExtractionFailed, extract  # noqa: PLC0415 -- needs the extra ray

    threads: dict[str, Any] = {} if fleet.workers is None else {"num_cpus": fleet.workers}
    with chunks_progress("extracting") as progress:
        try:
            reports = extract(
                timelines,
                cache=choice.cache,
                address=fleet.address,
                progress=progress,
                **settings,
                **threads,
            )
        except ExtractionFailed as error:
            return error.reports, error.failures
    return reports, {}


def _extract_locally(
    choice: CacheSelection,
    timelines: Mapping[str, Sequence[str | Chunk]],
    settings: Mapping[str, Any],
    fleet: Fleet,
) -> tuple[Reports, Failures]:
    reports: Reports = {}
    failures: Failures = {}
    for timeline_id, chunks in timelines.items():
        timeline = choice.cache.timeline(timeline_id)
        with frames_progress(f"extracting {escape_unprintable(timeline_id)}") as progress:
            try:
                reports[timeline_id] = timeline.extract(
                    chunks, workers=fleet.workers, progress=progress, **settings
                )
            except (StorePermissionDenied, StoreUnavailable):
                raise  # the next timeline would fail as well
            except FrameCacheError as error:
                failures[timeline_id] = error
    return reports, failures


def _print_json(reports: Reports, failures: Failures) -> None:
    print_json(
        {
            "timelines": [asdict(report) for report in reports.values()],
            "failed": [
                {"timeline_id": name, "error": type(error).__name__, "message": str(error)}
                for name, error in failures.items()
            ],
        }
    )


def _failure(failures: Failures, total: int) -> FrameCacheError:
    """Return one error for all, of the kind of the first."""
    shown = [f"{name}: {error}" for name, error in failures.items()][:_FAILURES_SHOWN]
    more = len(failures) - len(shown)
    rest = f"; and {more:,} more" if more else ""
    first = next(iter(failures.values()))
    return type(first)(
        f"{len(failures):,} of {format_count(total, 'timeline')} could not be extracted: "
        f"{'; '.join(shown)}{rest}"
    )
