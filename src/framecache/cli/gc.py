"""``framecache gc``: show or remove data that is no longer needed."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import click

from framecache._ingest.deletion import DeletionSummary
from framecache._maintain.gc import DEFAULT_MAX_SHARE, GcPlan, GcReport, Reason
from framecache.cli.errors import Refused, exit_code_of
from framecache.cli.options import CacheSelection, cache_options, json_option, timelines_argument
from framecache.cli.output import format_count, format_size, print_json, print_message, print_table
from framecache.cli.progress import timelines_progress
from framecache.cli.sentences import escape_unprintable, to_sentence

_EXAMPLES: Final = """\b
Examples:
  framecache gc
  framecache gc --max-bytes 500GB --max-age 30d
"""
_NUMBER: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")
_SIZE_UNITS: Final[dict[str, int]] = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
}
_AGE_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


@click.command(epilog=_EXAMPLES)
@timelines_argument(required=False)
@click.option(
    "--grace",
    default="24h",
    metavar="AGE",
    help="Keep blobs younger than AGE.  [default: 24h]",
)
@click.option(
    "--max-bytes", metavar="SIZE", help="Evict timelines until the cache fits: 500GB, 2TiB."
)
@click.option(
    "--max-age", metavar="AGE", help="Evict timelines unused for this long: 12h, 30d, 8w."
)
@click.option("--delete", is_flag=True, help="Delete, instead of showing what would be deleted.")
@click.option("--force", is_flag=True, help="Allow deleting more than half of everything.")
@json_option
@cache_options
@click.pass_context
def gc(
    context: click.Context,
    *,
    choice: CacheSelection,
    timeline_ids: Sequence[str],
    grace: str,
    max_bytes: str | None,
    max_age: str | None,
    delete: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Show blobs that are no longer needed, or delete them.

    These are left over from cleared epochs, crashed programs, replaced versions and abandoned
    uploads, and older than the grace period. With --max-bytes or --max-age, timelines also lose
    all their frames, least recently used first: "framecache rebuild" restores them, because a
    timeline is kept if one of its videos is missing, changed or denied. Overlays, written frames
    and other programs' frames always stay.
    """
    grace_seconds = _parse_age(context, "--grace", grace)
    limit = _parse_size(context, "--max-bytes", max_bytes) if max_bytes is not None else None
    max_age_seconds = _parse_age(context, "--max-age", max_age) if max_age is not None else None
    with timelines_progress("scanning") as progress:
        plan = choice.cache.plan_gc(
            grace_seconds=grace_seconds,
            max_bytes=limit,
            max_age_seconds=max_age_seconds,
            timelines=timeline_ids or None,
            progress=progress,
        )
    report = None
    if delete:
        _require_allowed(plan, force=force)
        with timelines_progress("removing") as progress:
            report = plan.execute(max_share=1.0, progress=progress)
    if as_json:
        print_json(_to_document(plan, report))
    else:
        _print_plan(plan) if report is None else _print_report(report)
        _print_kept(plan, is_limited=limit is not None or max_age_seconds is not None)
        if report is None and plan.removal.blobs:
            click.echo(
                f"To delete it: {escape_unprintable(_delete_command(context, choice, plan))}"
            )
    for one in report.skipped if report is not None else ():
        print_message(f"{one.timeline_id}: {one.reason}")
    for error in plan.unreadable.values():
        print_message(str(error))
    if plan.unreadable:
        context.exit(exit_code_of(next(iter(plan.unreadable.values()))))


def _require_allowed(plan: GcPlan, *, force: bool) -> None:
    if plan.share > DEFAULT_MAX_SHARE and not force:
        raise Refused(
            f"this would remove {_format_amount(plan.removal)} from {plan.store.url}, "
            f"{plan.share:.0%} of everything: give --force to allow it"
        )


def _print_plan(plan: GcPlan) -> None:
    count = format_count(len(plan.states), "timeline")
    total = f"{count} in {plan.store.url}: {_format_amount(plan.total)}"
    click.echo(escape_unprintable(total))
    if not plan.removal.blobs:
        click.echo(to_sentence("nothing to remove"))
        return
    click.echo()
    rows = [
        (str(reason), amount, f"{plan.timelines_with(reason):,}")
        for reason, amount in plan.amounts.items()
    ]
    evicted = sum((one.amount for one in plan.evictions), DeletionSummary(0, 0))
    rows.append(("evicted timelines", evicted, f"{len(plan.evictions):,}"))
    print_table(
        ("would be removed", "blobs", "size", "timelines"),
        [
            (what, f"{amount.blobs:,}", format_size(amount.size_bytes), timelines)
            for what, amount, timelines in rows
            if amount.blobs
        ],
        right=("blobs", "size", "timelines"),
    )
    if plan.evictions:
        click.echo()
        print_table(
            ("evicted", "last used", "size"),
            [
                (
                    one.timeline_id,
                    _format_local_time(one.last_used_at),
                    format_size(one.amount.size_bytes),
                )
                for one in plan.evictions
            ],
            right=("size",),
        )
    click.echo()
    after = format_size(plan.size_bytes_after)
    click.echo(
        f"{_format_amount(plan.removal)} would be removed, {plan.share:.0%} of everything; {after} "
        "stay."
    )


def _print_report(report: GcReport) -> None:
    if not report.removal.blobs:
        click.echo(to_sentence("nothing was removed"))
        return
    amounts = [*report.removed.items(), *report.evicted.items()]
    print_table(
        ("removed", "blobs", "size"),
        [
            (
                what if isinstance(what, Reason) else f"frames of {what}",
                f"{amount.blobs:,}",
                format_size(amount.size_bytes),
            )
            for what, amount in amounts
            if amount.blobs
        ],
        right=("blobs", "size"),
    )
    click.echo()
    click.echo(to_sentence(f"removed {_format_amount(report.removal)}"))


def _print_kept(plan: GcPlan, *, is_limited: bool) -> None:
    """Print the timelines that cannot be evicted, and by how much the limit stays exceeded."""
    if is_limited and plan.kept:
        click.echo()
        print_table(
            ("kept", "size", "because"),
            [
                (one.timeline_id, format_size(one.amount.size_bytes), one.reason)
                for one in plan.kept
            ],
            right=("size",),
        )
        click.echo()
    if plan.max_bytes is not None and plan.size_bytes_after > plan.max_bytes:
        over = format_size(plan.size_bytes_after - plan.max_bytes)
        click.echo(to_sentence(f"{over} above --max-bytes remain, which gc cannot evict"))


def _delete_command(context: click.Context, choice: CacheSelection, plan: GcPlan) -> str:
    given: list[str] = [*context.params["timeline_ids"]]
    for name in ("grace", "max_bytes", "max_age"):
        source = context.get_parameter_source(name)
        if source is click.core.ParameterSource.COMMANDLINE:
            given += [f"--{name.replace('_', '-')}", context.params[name]]
    most = ["--force"] if plan.share > DEFAULT_MAX_SHARE else []
    return choice.command_line("gc", *given, "--delete", *most)


def _to_document(plan: GcPlan, report: GcReport | None) -> dict[str, Any]:
    removed = report.removed if report is not None else {}
    return {
        "url": plan.store.url,
        "grace_seconds": plan.grace_seconds,
        "timelines": len(plan.states),
        **_to_json(plan.total),
        "removable": {
            _json_key(reason): _to_json(amount) | {"timelines": plan.timelines_with(reason)}
            for reason, amount in plan.amounts.items()
        },
        "evicted": [
            {
                "timeline_id": one.timeline_id,
                "last_used_at": one.last_used_at.isoformat(),
                **_to_json(one.amount),
            }
            for one in plan.evictions
        ],
        "kept": [
            {"timeline_id": one.timeline_id, "why": one.reason, **_to_json(one.amount)}
            for one in plan.kept
        ],
        "share": plan.share,
        "bytes_after": plan.size_bytes_after,
        "removed": None
        if report is None
        else {
            **_to_json(report.removal),
            "by_reason": {
                _json_key(reason): _to_json(amount) for reason, amount in removed.items()
            },
            "evicted": {name: _to_json(amount) for name, amount in report.evicted.items()},
            "skipped": [
                {"timeline_id": one.timeline_id, "message": one.reason} for one in report.skipped
            ],
        },
        "failures": [
            {"timeline_id": timeline_id, "message": str(error)}
            for timeline_id, error in plan.unreadable.items()
        ],
    }


def _json_key(reason: Reason) -> str:
    return reason.replace(" ", "_")


def _to_json(amount: DeletionSummary) -> dict[str, int]:
    return {"blobs": amount.blobs, "bytes": amount.size_bytes}


def _format_amount(amount: DeletionSummary) -> str:
    return f"{format_count(amount.blobs, 'blob')} ({format_size(amount.size_bytes)})"


def _format_local_time(time: datetime) -> str:
    """Format a time in the local time zone."""
    return f"{time.astimezone():%Y-%m-%d %H:%M}"


def _parse_size(context: click.Context, option: str, text: str) -> int:
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match[2].upper() not in _SIZE_UNITS:
        raise click.UsageError(
            f"{option} must be a size such as 500GB, 1.5TB, 200MiB or a number of bytes, not "
            f"{text!r}.",
            context,
        )
    return round(float(match[1]) * _SIZE_UNITS[match[2].upper()])


def _parse_age(context: click.Context, option: str, text: str) -> float:
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match[2] not in _AGE_UNITS:
        raise click.UsageError(
            f"{option} must be an age such as 90s, 30m, 24h, 30d or 8w, not {text!r}.", context
        )
    return float(match[1]) * _AGE_UNITS[match[2]]
