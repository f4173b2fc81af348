"""``framecache gc``: what nobody needs any more, shown, or removed."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import click

from framecache.cli.failure import Refused, code_of
from framecache.cli.options import Choice, cache_options, json_option, timelines_argument
from framecache.cli.progress import timelines_progress
from framecache.cli.show import count, print_json, print_table, printable, size
from framecache.gc import LARGEST_SHARE, GcPlan, GcReport, Reason
from framecache.sweep import Removal

_EXAMPLES: Final = """\b
Examples:
  framecache gc
  framecache gc --max-bytes 500GB --max-age 30d
"""
_NUMBER: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")
_BYTES: Final[dict[str, int]] = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
}
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


@click.command(epilog=_EXAMPLES)
@timelines_argument
@click.option(
    "--grace",
    default="24h",
    metavar="AGE",
    help="Keep what is younger.  [default: 24h]",
)
@click.option("--max-bytes", metavar="SIZE", help="Evict timelines until all fit: 500GB, 2TiB.")
@click.option("--max-age", metavar="AGE", help="Evict timelines unused for so long: 12h, 30d, 8w.")
@click.option("--delete", is_flag=True, help="Remove it, instead of showing what would go.")
@click.option("--allow-most", is_flag=True, help="Remove even more than half of everything.")
@json_option
@cache_options
@click.pass_context
def gc(
    context: click.Context,
    *,
    choice: Choice,
    timeline_ids: Sequence[str],
    grace: str,
    max_bytes: str | None,
    max_age: str | None,
    delete: bool,
    allow_most: bool,
    as_json: bool,
) -> None:
    """Show what nobody needs any more, or remove it.

    That is what is left of cleared epochs, crashed programs, replaced versions and abandoned
    uploads, once it is older than the grace period. With --max-bytes or --max-age, whole
    timelines lose their frames too, least recently used first: "framecache rebuild" brings them
    back, for a timeline is kept if one of its videos is gone, changed or denied. Overlays, written
    frames and other programs' frames always stay.
    """
    grace_seconds = _seconds(context, "--grace", grace)
    limit = _bytes(context, "--max-bytes", max_bytes) if max_bytes is not None else None
    max_age_seconds = _seconds(context, "--max-age", max_age) if max_age is not None else None
    with timelines_progress("looking") as progress:
        plan = choice.cache.plan_gc(
            grace_seconds=grace_seconds,
            max_bytes=limit,
            max_age_seconds=max_age_seconds,
            timelines=timeline_ids or None,
            progress=progress,
        )
    report = None
    if delete:
        _require_allowed(plan, allow_most=allow_most)
        with timelines_progress("removing") as progress:
            report = plan.carry_out(largest_share=1.0, progress=progress)
    if as_json:
        print_json(_document(plan, report))
    else:
        _print_plan(plan) if report is None else _print_report(report)
        _print_kept(plan, is_limited=limit is not None or max_age_seconds is not None)
        if report is None and plan.removal.blobs:
            click.echo(f"To remove it: {printable(_command(context, choice, plan))}")
    for one in report.skipped if report is not None else ():
        click.echo(f"framecache: {printable(f'{one.timeline_id}: {one.why}')}", err=True)
    for error in plan.unreadable.values():
        click.echo(f"framecache: {printable(str(error))}", err=True)
    if plan.unreadable:
        context.exit(code_of(next(iter(plan.unreadable.values()))))


def _require_allowed(plan: GcPlan, *, allow_most: bool) -> None:
    if plan.share > LARGEST_SHARE and not allow_most:
        raise Refused(
            f"gc would remove {_amount(plan.removal)} from {plan.store.url}, {plan.share:.0%} of "
            f"everything: give --allow-most to go on"
        )


def _print_plan(plan: GcPlan) -> None:
    total = f"{count(len(plan.states), 'timeline')} in {plan.store.url}: {_amount(plan.total)}"
    click.echo(printable(total))
    if not plan.removal.blobs:
        click.echo("nothing to remove")
        return
    click.echo()
    rows = [
        (str(reason), amount, f"{plan.timelines_with(reason):,}")
        for reason, amount in plan.amounts.items()
    ]
    evicted = sum((one.amount for one in plan.evictions), Removal(0, 0))
    rows.append(("evicted timelines", evicted, f"{len(plan.evictions):,}"))
    print_table(
        ("would go", "blobs", "size", "timelines"),
        [
            (what, f"{amount.blobs:,}", size(amount.size_bytes), timelines)
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
                (one.timeline_id, _local(one.last_used_at), size(one.amount.size_bytes))
                for one in plan.evictions
            ],
            right=("size",),
        )
    click.echo()
    after = size(plan.size_bytes_after)
    click.echo(f"{_amount(plan.removal)} would go, {plan.share:.0%} of everything; {after} stay")


def _print_report(report: GcReport) -> None:
    if not report.removal.blobs:
        click.echo("nothing was removed")
        return
    amounts = [*report.removed.items(), *report.evicted.items()]
    print_table(
        ("removed", "blobs", "size"),
        [
            (
                what if isinstance(what, Reason) else f"frames of {what}",
                f"{amount.blobs:,}",
                size(amount.size_bytes),
            )
            for what, amount in amounts
            if amount.blobs
        ],
        right=("blobs", "size"),
    )
    click.echo()
    click.echo(f"removed {_amount(report.removal)}")


def _print_kept(plan: GcPlan, *, is_limited: bool) -> None:
    """What a limit cannot take away, and whether that is too much."""
    if is_limited and plan.kept:
        click.echo()
        print_table(
            ("kept", "size", "because"),
            [(one.timeline_id, size(one.amount.size_bytes), one.why) for one in plan.kept],
            right=("size",),
        )
        click.echo()
    if plan.max_bytes is not None and plan.size_bytes_after > plan.max_bytes:
        over = size(plan.size_bytes_after - plan.max_bytes)
        click.echo(f"that leaves {over} above --max-bytes, which gc cannot evict")


def _command(context: click.Context, choice: Choice, plan: GcPlan) -> str:
    given: list[str] = [*context.params["timeline_ids"]]
    for name in ("grace", "max_bytes", "max_age"):
        source = context.get_parameter_source(name)
        if source is click.core.ParameterSource.COMMANDLINE:
            given += [f"--{name.replace('_', '-')}", context.params[name]]
    most = ["--allow-most"] if plan.share > LARGEST_SHARE else []
    return choice.command_line("gc", *given, "--delete", *most)


def _document(plan: GcPlan, report: GcReport | None) -> dict[str, Any]:
    removed = report.removed if report is not None else {}
    return {
        "url": plan.store.url,
        "grace_seconds": plan.grace_seconds,
        "timelines": len(plan.states),
        **_to_json(plan.total),
        "removable": {
            _name(reason): _to_json(amount) | {"timelines": plan.timelines_with(reason)}
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
            {"timeline_id": one.timeline_id, "why": one.why, **_to_json(one.amount)}
            for one in plan.kept
        ],
        "share": plan.share,
        "bytes_after": plan.size_bytes_after,
        "removed": None
        if report is None
        else {
            **_to_json(report.removal),
            "by_reason": {_name(reason): _to_json(amount) for reason, amount in removed.items()},
            "evicted": {name: _to_json(amount) for name, amount in report.evicted.items()},
            "skipped": [
                {"timeline_id": one.timeline_id, "message": one.why} for one in report.skipped
            ],
        },
        "failures": [
            {"timeline_id": timeline_id, "message": str(error)}
            for timeline_id, error in plan.unreadable.items()
        ],
    }


def _name(reason: Reason) -> str:
    return reason.replace(" ", "_")


def _to_json(amount: Removal) -> dict[str, int]:
    return {"blobs": amount.blobs, "bytes": amount.size_bytes}


def _amount(amount: Removal) -> str:
    return f"{count(amount.blobs, 'blob')} ({size(amount.size_bytes)})"


def _local(time: datetime) -> str:
    """In the time zone of whoever looks."""
    return f"{time.astimezone():%Y-%m-%d %H:%M}"


def _bytes(context: click.Context, option: str, text: str) -> int:
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match[2].upper() not in _BYTES:
        raise click.UsageError(
            f"{option} is a size as 500GB, 1.5TB, 200MiB or a number of bytes, not {text!r}.",
            context,
        )
    return round(float(match[1]) * _BYTES[match[2].upper()])


def _seconds(context: click.Context, option: str, text: str) -> float:
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match[2] not in _SECONDS:
        raise click.UsageError(
            f"{option} is an age as 90s, 30m, 24h, 30d or 8w, not {text!r}.", context
        )
    return float(match[1]) * _SECONDS[match[2]]
