"""``framecache serve``: a cache for viewers and programs, over HTTP."""

import importlib.util
import json
import os
import re
import sys
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from framecache.cache import FrameCache
from framecache.cli.options import Choice, cache_options
from framecache.cli.show import printable
from framecache.errors import InvalidValue
from framecache.store import normalised_url

if TYPE_CHECKING:
    from framecache.http import Tokens

_WRITE_VARIABLE: Final = "FRAMECACHE_SERVE_TOKEN"
_READ_VARIABLE: Final = "FRAMECACHE_SERVE_READ_TOKEN"
_ROOT_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")
_NEEDED: Final = ("fastapi", "prometheus_client", "uvicorn")
_NO_PROXY: Final = """\
framecache: behind a proxy that ends TLS give --trusted-proxy: without it cookies are not marked
Secure, and all who come through the proxy count as one address"""
_EPILOG: Final = f"""\b
Tokens are never given on the command line, where everyone can read them:
  ${_WRITE_VARIABLE}, --token-file             read and write
  ${_READ_VARIABLE}, --read-token-file   read
A file has one token a line; to make one: openssl rand -hex 32.

\b
Examples:
  framecache serve
  framecache serve --allow-chunks s3://media/matches --allow-chunks ./videos
  framecache serve --host 0.0.0.0 --token-file tokens --read-only
"""


@click.command(epilog=_EPILOG)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to serve at.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Its port; 0: any that is free.",
)
@click.option("--read-only", is_flag=True, help="Refuse whatever changes the cache.")
@click.option("--token-file", type=click.Path(dir_okay=False), help="Tokens that read and write.")
@click.option("--read-token-file", type=click.Path(dir_okay=False), help="Tokens that only read.")
@click.option(
    "--allow-chunks",
    multiple=True,
    metavar="URL",
    help="Where videos may lie: a folder, or a URL's beginning. May be repeated.",
)
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="Another name this service is called by. May be repeated.",
)
@click.option(
    "--trusted-proxy",
    multiple=True,
    metavar="ADDRESS",
    help="A proxy whose X-Forwarded-For and -Proto are believed. May be repeated.",
)
@click.option(
    "--root-path", default="", metavar="PATH", help="The path that a proxy puts before everything."
)
@click.option(
    "--max-upload-bytes",
    type=click.IntRange(0),
    metavar="N",
    help="Of one uploaded video; 0: none may be uploaded.  [default: 20 GB]",
)
@click.option(
    "--requests-per-second",
    type=click.IntRange(1),
    metavar="N",
    help="Of one client, or of one address where there are no tokens.  [default: 200]",
)
@click.option(
    "--open", "opens_browser", is_flag=True, help="Show the viewer, where there is a browser."
)
@click.option("--print-openapi", is_flag=True, help="Print what the service offers, and end.")
@cache_options
def serve(
    *,
    choice: Choice,
    host: str,
    port: int,
    read_only: bool,
    token_file: str | None,
    read_token_file: str | None,
    allow_chunks: Sequence[str],
    allow_host: Sequence[str],
    trusted_proxy: Sequence[str],
    root_path: str,
    max_upload_bytes: int | None,
    requests_per_second: int | None,
    opens_browser: bool,
    print_openapi: bool,
) -> None:
    """Serve the cache: its timelines, frames, overlays, the viewer, and work on it.

    On a loopback address everyone on this machine may do everything, unless there are tokens. On
    any other address tokens are needed. Ctrl-C ends it; what it was doing in the background goes
    on when it is started again.
    """
    _require_extra()
    from framecache import http  # noqa: PLC0415 -- optional, and slow to import

    if print_openapi:
        document = http.create_app(FrameCache("memory://openapi")).openapi()
        click.echo(json.dumps(document, indent=1, sort_keys=True))
        return
    limits = http.Limits()
    if max_upload_bytes is not None:
        limits = replace(limits, upload_bytes=max_upload_bytes)
    if requests_per_second is not None:
        limits = replace(limits, requests_per_second=requests_per_second)
    settings = http.ServiceSettings(
        read_only=read_only,
        tokens=_tokens(token_file, read_token_file),
        allowed_chunks=tuple(normalised_url(url) for url in allow_chunks),
        allowed_hosts=_hosts(host, allow_host),
        root_path=_root_path(root_path),
        limits=limits,
    )
    app = http.create_app(choice.cache, settings)
    if settings.tokens and allow_host and not trusted_proxy:
        click.echo(_NO_PROXY, err=True)

    def announce(address: str) -> None:
        click.echo(f"framecache: serving {printable(choice.cache.url)} at {address}", err=True)
        if opens_browser and _has_screen():
            # Some browsers are waited for until they end.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    http.serve(app, host=host, port=port, trusted_proxies=tuple(trusted_proxy), announce=announce)


def _has_screen() -> bool:
    """Whether a browser would have a window; those of a terminal show no pictures."""
    return sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def _require_extra() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"serving needs {' and '.join(missing)}: pip install 'framecache[server]'"
        )


def _tokens(token_file: str | None, read_token_file: str | None) -> "Tokens":
    from framecache.http import Tokens  # noqa: PLC0415 -- optional

    return Tokens(
        write=_tokens_of(_WRITE_VARIABLE, token_file),
        read=_tokens_of(_READ_VARIABLE, read_token_file),
    )


def _tokens_of(variable: str, file: str | None) -> list[str]:
    tokens = [token] if (token := os.environ.get(variable)) else []
    if file is None:
        return tokens
    try:
        lines = Path(file).read_text(encoding="ascii").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidValue(f"{file} holds other than ASCII: a token is printable ASCII") from error
    found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not found:
        raise InvalidValue(f"{file} holds no token: give one a line")
    return tokens + found


def _hosts(host: str, others: Sequence[str]) -> tuple[str, ...] | None:
    from framecache import http  # noqa: PLC0415 -- optional

    names = [name.lower() for name in others]
    if http.is_loopback(host):
        return (*http.LOOPBACK_NAMES, host, *names)
    return tuple(names) or None


def _root_path(path: str) -> str:
    if path in {"", "/"}:
        return ""
    if not _ROOT_PATH.fullmatch(path):
        raise InvalidValue(f"--root-path is a path such as /frames, not {path!r}")
    return path.rstrip("/")
