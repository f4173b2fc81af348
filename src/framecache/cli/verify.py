"""``framecache verify``: is what was cached still there, and if not, bring it back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

import click

from framecache.cli.options import (
    Choice,
    cache_options,
    json_option,
    timeline_argument,
    workers_option,
)
from framecache.cli.progress import frames_progress
from framecache.cli.show import count, elapsed, print_json, print_table, printable, size
from framecache.errors import CorruptFrame
from framecache.model import ProgressCallback
from framecache.verify import Finding, Kind, VerifyReport

_SHOWN: Final = 10
_MEANINGS: Final[dict[Kind, str]] = {
    "ok": "frames as they were committed",
    "missing": "what the index names is gone",
    "truncated": "shorter than what was committed",
    "corrupt": "not what was committed, or not the video's picture",
    "undecodable": "frames the video has no picture for; they are passed over",
    "source_changed": "videos that are not those described; what is cached stays valid",
    "source_gone": "videos that are not there; what is cached stays valid",
    "stale": "left behind by an older epoch",
    "orphan": "nothing names it: left behind, or being written at this moment",
}


@click.command()
@timeline_argument
@click.option(
    "--deep", is_flag=True, help="Decode every JPEG, and compare some with the videos' pictures."
)
@click.option("--repair", is_flag=True, help="Extract again what is bad, and only that.")
@workers_option
@json_option
@cache_options
def verify(
    *,
    choice: Choice,
    timeline_id: str,
    deep: bool,
    repair: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Compare a timeline's frames with what was committed.

    Every frame is fetched and checked, and everything else of the timeline accounted for. Without
    --repair nothing is changed. The exit code is 8 while something is missing, truncated or
    corrupt.
    """
    timeline = choice.cache.timeline(timeline_id)
    with _checking(is_repairing=repair) as progress:
        report = timeline.verify(deep=deep, repair=repair, workers=workers, progress=progress)
    if as_json:
        print_json(
            asdict(report) | {"url": choice.cache.url, "ok": report.ok, "damaged": report.damaged}
        )
    else:
        _print_report(choice, report)
    if not report.ok:
        raise CorruptFrame(_way_out(choice, report, is_repaired=repair))


@contextmanager
def _checking(*, is_repairing: bool) -> Iterator[ProgressCallback | None]:
    try:
        with frames_progress("verifying") as progress:
            yield progress
    except KeyboardInterrupt:
        ending = "what was repaired stays repaired" if is_repairing else "nothing was changed"
        raise KeyboardInterrupt(f"interrupted; {ending}") from None


def _print_report(choice: Choice, report: VerifyReport) -> None:
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
        chunks = count(report.chunks_not_cached, "described chunk")
        click.echo(f"Not cached yet: {chunks}; to see which: {_info(choice, report)}")
    if report.counts["stale"] or report.counts["orphan"]:
        click.echo(
            "What is stale or orphaned takes room and does no harm; framecache gc removes it."
        )


def _headline(report: VerifyReport) -> str:
    repaired = f", {report.repaired:,} repaired" if report.repaired else ""
    state = "ok" if report.ok else f"{report.damaged:,} damaged"
    if report.chunks_not_cached:
        state += f", {count(report.chunks_not_cached, 'chunk')} not cached yet"
    checked = f"{count(report.frames_checked, 'frame')} checked"
    return (
        f"{report.timeline_id}: {state}{repaired}; {checked}, {size(report.bytes_read)} in "
        f"{elapsed(report.seconds)}"
    )


def _print_findings(report: VerifyReport) -> None:
    found = _most_urgent_first(report.findings)
    for finding in found[:_SHOWN]:
        click.echo(f"  {printable(_in_words(finding))}")
    more = sum(number for kind, number in report.counts.items() if kind != "ok") - _SHOWN
    if more > 0:
        click.echo(f"  and {count(more, 'more finding')}; --json names the first 1,000")


def _most_urgent_first(findings: Sequence[Finding]) -> list[Finding]:
    kinds = list(_MEANINGS)
    return sorted(findings, key=lambda finding: (kinds.index(finding.kind), finding.repaired))


def _in_words(finding: Finding) -> str:
    what = (
        f"frame {finding.sequence} ({finding.key})"
        if finding.sequence is not None
        else (finding.key)
    )
    ending = "; repaired" if finding.repaired else ""
    return f"{finding.kind.replace('_', ' ')}: {what}: {finding.detail}{ending}"


def _info(choice: Choice, report: VerifyReport) -> str:
    return printable(choice.command_line("info", report.timeline_id))


def _way_out(choice: Choice, report: VerifyReport, *, is_repaired: bool) -> str:
    damage = count(report.damaged, "damaged blob")
    if is_repaired:
        return (
            f"timeline {report.timeline_id}: {damage} could not be repaired; the findings say why, "
            f"and what to do"
        )
    command = choice.command_line("verify", report.timeline_id, "--repair")
    return f"timeline {report.timeline_id} has {damage}; to make them again: {command}"
