"""``framecache overlays``: list, save and remove the overlays of jobs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import click

from framecache._overlays import Overlays, StageCounts
from framecache.cli.clear_rm import confirm, timeline_not_found
from framecache.cli.export import prepare_folder
from framecache.cli.files import report_partial_output, write_atomically
from framecache.cli.group import OrderedGroup, require_command
from framecache.cli.options import (
    CacheSelection,
    cache_options,
    given_options,
    json_option,
    timeline_argument,
    yes_option,
)
from framecache.cli.output import format_count, format_size, print_json, print_result, print_table
from framecache.cli.sentences import escape_unprintable
from framecache.cli.stages import select_stages
from framecache.errors import NotCached
from framecache.timeline import Timeline


@click.group(cls=OrderedGroup, invoke_without_command=True, subcommand_metavar="COMMAND ...")
@click.pass_context
def overlays(context: click.Context, /) -> None:
    """List, save or remove the overlays of a timeline."""
    require_command(context)


@overlays.command()
@timeline_argument
@json_option
@cache_options
def ls(*, choice: CacheSelection, timeline_id: str, as_json: bool) -> None:
    """List the jobs and stages that have overlays."""
    timeline = choice.cache.timeline(timeline_id)
    stages = timeline.stages()
    if not stages:
        info = timeline.info()
        if info.epoch is None and not info.exists:
            raise timeline_not_found(choice, timeline_id)
    if as_json:
        jobs = {
            job_id: {stage: asdict(counts) for stage, counts in several.items()}
            for job_id, several in stages.items()
        }
        print_json({"timeline_id": timeline_id, "url": choice.cache.url, "jobs": jobs})
    elif stages:
        _print_stages(stages)
    else:
        print_result(f"{timeline_id}: no overlays")


@overlays.command()
@timeline_argument
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("stages", metavar="[JOB[/STAGE]]...", nargs=-1)
@click.option("--force", "-f", is_flag=True, help="Write into a folder that is not empty.")
@json_option
@cache_options
@click.pass_context
def export(
    context: click.Context,
    *,
    choice: CacheSelection,
    timeline_id: str,
    folder: Path,
    stages: Sequence[str],
    force: bool,
    as_json: bool,
) -> None:
    """Save overlays into a folder, as JOB/STAGE/SEQ_NAME.png.

    The files hold the stored bytes of the given jobs or stages, or of all of them.
    """
    timeline = choice.cache.timeline(timeline_id)
    chosen = select_stages(timeline, stages or list(timeline.jobs()))
    if not chosen:
        raise NotCached(
            f"timeline {timeline_id} in {choice.cache.store.display_name} has no overlays"
        )
    prepare_folder(folder, force=force)
    options = given_options(context, leave_out={"force"})
    again = choice.command_line(
        *("overlays", "export", timeline_id, str(folder), *stages, *options, "--force")
    )
    sizes: list[int] = []
    with report_partial_output(folder, retry_command=again) as written:
        for length in chain.from_iterable(_write_stage(one, folder) for one in chosen):
            sizes.append(length)
            written.number += 1
    if as_json:
        print_json(
            {
                "timeline_id": timeline_id,
                "url": choice.cache.url,
                "folder": str(folder),
                "overlays_exported": len(sizes),
                "bytes_exported": sum(sizes),
            }
        )
    else:
        print_result(
            f"{escape_unprintable(str(folder))}: {format_count(len(sizes), 'overlay')}, "
            f"{format_size(sum(sizes))}"
        )


@overlays.command()
@timeline_argument
@click.argument("stages", metavar="JOB[/STAGE]...", nargs=-1, required=True)
@yes_option
@json_option
@cache_options
def rm(
    *, choice: CacheSelection, timeline_id: str, stages: Sequence[str], yes: bool, as_json: bool
) -> None:
    """Remove the overlays of jobs, or of single stages; frames stay."""
    timeline = choice.cache.timeline(timeline_id)
    chosen = select_stages(timeline, stages)
    confirm(
        f"remove {_amount(timeline, chosen)} of timeline {timeline_id} in {choice.cache.url}",
        yes=yes,
    )
    removed = sum(one.clear() for one in chosen)
    if as_json:
        print_json(
            {
                "timeline_id": timeline_id,
                "url": choice.cache.url,
                "overlays_removed": removed,
            }
        )
    else:
        print_result(f"{timeline_id}: removed {format_count(removed, 'overlay')}")


def _print_stages(stages: Mapping[str, Mapping[str, StageCounts]]) -> None:
    rows = [
        (
            job_id,
            stage,
            f"{counts.frame_count:,}",
            f"{counts.overlay_count:,}",
            format_size(counts.size_bytes),
            f"{counts.stale_count:,}",
            ", ".join(counts.names),
        )
        for job_id, several in stages.items()
        for stage, counts in several.items()
    ]
    headers = ("job", "stage", "frames", "overlays", "size", "stale", "names")
    print_table(headers, rows, right=headers[2:6])


def _write_stage(overlays_: Overlays, folder: Path) -> Iterator[int]:
    """Write all overlays of a stage; yield the size of each in bytes."""
    target = folder / overlays_.job_id / overlays_.stage
    target.mkdir(parents=True, exist_ok=True)
    for sequence, pngs in overlays_.load_many(overlays_.frames()):
        for name, data in pngs.items():
            write_atomically(target / f"{sequence}_{name}.png", data)
            yield len(data)


def _amount(timeline: Timeline, chosen: Sequence[Overlays]) -> str:
    jobs = timeline.jobs()
    numbers = ((one, jobs.get(one.job_id, {}).get(one.stage, 0)) for one in chosen)
    each = (
        f"{format_count(number, 'overlay')} of {one.job_id}/{one.stage}" for one, number in numbers
    )
    return " and ".join(each)
