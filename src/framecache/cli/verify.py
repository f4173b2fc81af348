"""``framecache verify``: check the stored frames, and repair them if requested."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

import click

from framecache._maintain.verify import Finding, FindingKind, VerifyReport
from framecache.cli.interrupts import add_interrupt_outcome
from framecache.cli.options import (
    CacheSelection,
    cache_options,
    json_option,
    timeline_argument,
    workers_option,
)
from framecache.cli.output import format_count, format_elapsed, format_size, print_json, print_table
from framecache.cli.progress import frames_progress
from framecache.cli.sentences import escape_unprintable
from framecache.errors import CorruptFrame
from framecache.model import ProgressCallback

_MAX_SHOWN: Final = 10
_MEANINGS: Final[dict[FindingKind, str]] = {
    "ok": "frames as they were committed",
    "missing": "named by the index, but not in the store",
    "truncated": "shorter than what was committed",
    "corrupt": "differs from what was committed, or from the video's picture",
    "undecodable": "frames for which the video has no picture; they are skipped",
    "source_changed": "videos that differ from those extracted; cached frames stay valid",
    "source_missing": "videos that no longer exist; cached frames stay valid",
    "stale": "left over from an older epoch",
    "orphan": "not referenced: left over, or being written at this moment",
}


@click.command()
@timeline_argument
@click.option(
    "--deep", is_flag=True, help="Decode every JPEG, and compare some with the videos' pictures."
)
@click.option(
    "--repair", is_flag=True, help="Extract damaged or missing frames again, and only those."
)
@workers_option
@json_option
@cache_options
def verify(
    *,
    choice: CacheSelection,
    timeline_id: str,
    deep: bool,
    repair: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Compare a timeline's frames with what was committed.

    Every frame is fetched and checked, and all other blobs of the timeline are accounted for.
    Without --repair nothing is changed. The exit code is 8 as long as anything is missing,
    truncated or corrupt.
    """
    timeline = choice.cache.timeline(timeline_id)
    with _verification_progress(is_repairing=repair) as progress:
        report = timeline.verify(deep=deep, repair=repair, workers=workers, progress=progress)
    if as_json:
        print_json(
            asdict(report) | {"url": choice.cache.url, "ok": report.ok, "damaged": report.damaged}
        )
    else:
        _print_report(choice, report)
    if not report.ok:
        raise CorruptFrame(_remedy(choice, report, is_repaired=repair))


@contextmanager
def _verification_progress(*, is_repairing: bool) -> Iterator[ProgressCallback | None]:
    outcome = "repaired frames stay repaired" if is_repairing else "nothing was changed"
    with add_interrupt_outcome(outcome), frames_progress("verifying") as progress:
        yield progress


def _print_report(choice: CacheSelection, report: VerifyReport) -> None:
    click.echo(_headline(report))
    rows = [
        (kind.replace("_", " "), f"{report.counts[kind]:,}", meaning)
        for kind, meaning in _MEANINGS.items()
        if report.counts[kind]
    ]
    if rows:
        print_table(("found", "number", "meaning"), rows, right=("number",))
    _print_findings(report)
    if report.chunks_not_cached:
        chunks = format_count(report.chunks_not_cached, "chunk of the manifest")
        click.echo(f"Not cached yet: {chunks}; to see which: {_info_command(choice, report)}")
    if report.counts["stale"] or report.counts["orphan"]:
        gc = escape_unprintable(choice.command_line("gc"))
        click.echo(f"Stale and orphaned blobs use space but do no harm; to remove them: {gc}")


def _headline(report: VerifyReport) -> str:
    repaired = f", {report.repaired:,} repaired" if report.repaired else ""
    state = "ok" if report.ok else f"{report.damaged:,} damaged"
    if report.chunks_not_cached:
        state += f", {format_count(report.chunks_not_cached, 'chunk')} not cached yet"
    checked = f"{format_count(report.frames_checked, 'frame')} checked"
    if report.renditions_checked:
        renditions = format_count(report.renditions_checked, "rendition")
        checked = f"{format_count(report.frames_checked, 'frame')} and {renditions} checked"
    return (
        f"{report.timeline_id}: {state}{repaired}; {checked}, {format_size(report.bytes_read)} in "
        f"{format_elapsed(report.seconds)}"
    )


def _print_findings(report: VerifyReport) -> None:
    found = _sort_by_urgency(report.findings)
    for finding in found[:_MAX_SHOWN]:
        click.echo(f"  {escape_unprintable(_format_finding(finding))}")
    more = sum(number for kind, number in report.counts.items() if kind != "ok") - _MAX_SHOWN
    if more > 0:
        click.echo(f"  and {format_count(more, 'more finding')}; --json names the first 1,000")


def _sort_by_urgency(findings: Sequence[Finding]) -> list[Finding]:
    kinds = list(_MEANINGS)
    return sorted(findings, key=lambda finding: (kinds.index(finding.kind), finding.repaired))


def _format_finding(finding: Finding) -> str:
    what = (
        f"frame {finding.sequence} ({finding.key})"
        if finding.sequence is not None
        else (finding.key)
    )
    ending = "; repaired" if finding.repaired else ""
    return f"{finding.kind.replace('_', ' ')}: {what}: {finding.detail}{ending}"


def _info_command(choice: CacheSelection, report: VerifyReport) -> str:
    return escape_unprintable(choice.command_line("info", report.timeline_id))


def _remedy(choice: CacheSelection, report: VerifyReport, *, is_repaired: bool) -> str:
    damage = format_count(report.damaged, "damaged blob")
    if is_repaired:
        return (
            f"timeline {report.timeline_id}: {damage} could not be repaired; the findings say why, "
            f"and what to do"
        )
    command = choice.command_line("verify", report.timeline_id, "--repair")
    return f"timeline {report.timeline_id} has {damage}; to repair them: {command}"
