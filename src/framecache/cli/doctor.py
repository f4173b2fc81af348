"""``framecache doctor``: check the installation and the access to the store."""

import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import click

from framecache._core.optional_imports import EXTRAS, Extra, missing_packages
from framecache._maintain import doctor as examination
from framecache._maintain.doctor import Check, Outcome
from framecache._version import __version__
from framecache.cli.options import CacheSelection, cache_options, json_option
from framecache.cli.output import format_count, print_fields, print_json, print_table
from framecache.cli.sentences import to_sentence
from framecache.errors import MissingPackage
from framecache.store import EffectiveSetting, explain_settings

_FAILED: Final = 1
_PACKAGES: Final = ("arro3-io", "av", "obstore", "simplejpeg")
_OUTCOME_LABELS: Final[dict[Outcome, str]] = {"ok": "ok", "failed": "FAILED", "skipped": "skipped"}


@click.command()
@click.option(
    "--why",
    is_flag=True,
    help="Show how the store is reached, and the origin of each setting: endpoint, region, signer…",
)
@json_option
@cache_options
@click.pass_context
def doctor(context: click.Context, *, choice: CacheSelection, as_json: bool, why: bool) -> None:
    """Check what framecache needs, and name what is missing.

    Writes, reads, lists, creates twice and deletes small blobs under cache/doctor/ in the
    store, and removes them all. Checks that cannot run are skipped. The exit code is 0 if
    every check ran and passed.
    """
    versions = _versions()
    missing = {extra: missing_packages(extra) for extra in EXTRAS}
    findings = explain_settings(choice.cache.url, choice.cache.store.options) if why else []
    checks = [_check_codecs(), *examination.run_checks(choice.cache.store)]
    failed = sum(check.outcome == "failed" for check in checks)
    skipped = sum(check.outcome == "skipped" for check in checks)
    if as_json:
        print_json(
            _document(choice, versions, missing, checks)
            | (_settings_to_json(findings) if why else {})
        )
    else:
        print_fields(
            [
                ("cache", f"{choice.cache.url} (from {choice.origin})"),
                *versions.items(),
                *_describe_extras(missing),
            ]
        )
        click.echo()
        if findings:
            reached = [(found.name, found.value, found.source) for found in findings]
            print_table(("setting", "value", "from"), reached)
            click.echo()
        rows = [(_OUTCOME_LABELS[check.outcome], check.name, check.detail) for check in checks]
        print_table(("result", "check", "problem, and what to do about it"), rows)
        click.echo()
        click.echo(to_sentence(_summary(failed=failed, skipped=skipped)))
    if failed or skipped:
        context.exit(_FAILED)


def _settings_to_json(findings: list[EffectiveSetting]) -> dict[str, Any]:
    return {
        "reached_by": [
            {"name": found.name, "value": found.value, "from": found.source} for found in findings
        ]
    }


def _summary(*, failed: int, skipped: int) -> str:
    parts = [format_count(failed, "check") + " failed"] if failed else []
    parts += [f"{skipped} skipped"] if skipped else []
    return ", ".join(parts) or "everything works"


def _versions() -> dict[str, str]:
    from importlib import metadata  # noqa: PLC0415 -- no other command needs it

    versions = {"framecache": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _describe_extras(missing: Mapping[Extra, Sequence[str]]) -> list[tuple[str, str]]:
    """Return a line for each extra: installed, or what it lacks and how to install it."""
    return [
        (
            f"extra {extra}",
            f"not installed ({', '.join(packages)}): pip install 'framecache[{extra}]'"
            if packages
            else "installed",
        )
        for extra, packages in missing.items()
    ]


def _check_codecs() -> Check:
    """Check that the libraries that decode and encode can be loaded, those of extras included."""
    try:
        from framecache._media import jpeg, video  # noqa: PLC0415 -- a broken wheel is a finding here

        encoder = jpeg.encoder_version()
        try:
            detail = f"FFmpeg {video.ffmpeg_version()}, {encoder}"
        except MissingPackage:
            detail = f"{encoder}; videos cannot be decoded without the extra extract"
    except (ImportError, OSError) as error:
        detail = f"{error}: reinstall with pip install --force-reinstall av simplejpeg"
        return Check("codecs", "failed", detail)
    return Check("codecs", "ok", detail)


def _document(
    choice: CacheSelection,
    versions: dict[str, str],
    missing: Mapping[Extra, Sequence[str]],
    checks: list[Check],
) -> dict[str, Any]:
    return {
        "ok": all(check.ok for check in checks),
        "url": choice.cache.url,
        "url_from": choice.origin,
        "versions": versions,
        "missing_packages": {extra: list(packages) for extra, packages in missing.items()},
        "checks": [
            {
                "name": check.name,
                "ok": check.ok,
                "outcome": check.outcome,
                "detail": check.detail,
            }
            for check in checks
        ],
    }
