"""``framecache doctor``: is everything here to work with, and does the store allow it."""

import platform
from typing import Any, Final

import click

from framecache import doctor as examination
from framecache._version import __version__
from framecache.cli.options import Choice, cache_options, json_option
from framecache.cli.show import count, print_facts, print_json, print_table
from framecache.doctor import Check

_FAILED: Final = 1


@click.command()
@json_option
@cache_options
@click.pass_context
def doctor(context: click.Context, *, choice: Choice, as_json: bool) -> None:
    """Try what framecache needs, and name what is missing.

    Writes, reads, lists, creates twice and deletes small blobs under cache/doctor/ of the
    store, and leaves nothing behind. Exits with 0 when everything works.
    """
    versions = _versions()
    checks = [_check_video(), *examination.examine(choice.cache.store)]
    failed = sum(not check.ok for check in checks)
    if as_json:
        print_json(_document(choice, versions, checks))
    else:
        print_facts([("cache", f"{choice.cache.url} (from {choice.origin})"), *versions.items()])
        click.echo()
        rows = [("ok" if check.ok else "FAILED", check.name, check.detail) for check in checks]
        print_table(("result", "check", "what was met, and what to do"), rows)
        click.echo()
        click.echo(f"{count(failed, 'check')} failed" if failed else "everything works")
    if failed:
        context.exit(_FAILED)


def _versions() -> dict[str, str]:
    from importlib.metadata import version  # noqa: PLC0415 -- no other command needs it

    packages = {name: version(name) for name in ("av", "obstore", "simplejpeg", "pyarrow")}
    return {"framecache": __version__, "python": platform.python_version()} | packages


def _check_video() -> Check:
    """Whether the libraries that decode and encode can be loaded at all."""
    try:
        from framecache import jpeg, video  # noqa: PLC0415 -- a broken wheel is a finding here

        detail = f"FFmpeg {video.ffmpeg_version()}, {jpeg.encoder_version()}"
    except (ImportError, OSError) as error:
        detail = f"{error}: reinstall with pip install --force-reinstall av simplejpeg"
        return Check("codecs", ok=False, detail=detail)
    return Check("codecs", ok=True, detail=detail)


def _document(choice: Choice, versions: dict[str, str], checks: list[Check]) -> dict[str, Any]:
    return {
        "ok": all(check.ok for check in checks),
        "url": choice.cache.url,
        "url_from": choice.origin,
        "versions": versions,
        "checks": [
            {"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks
        ],
    }
