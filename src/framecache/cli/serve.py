"""``framecache serve`` and ``open``: serve a cache over HTTP."""

import errno
import json
import os
import re
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlencode

import click
from click.core import ParameterSource

from framecache._core.optional_imports import require_extra
from framecache.cache import FrameCache
from framecache.cli import interrupts
from framecache.cli.options import CacheSelection, cache_options, timeline_argument
from framecache.cli.output import print_message
from framecache.cli.sentences import escape_unprintable
from framecache.errors import InvalidValue, NotCached
from framecache.store import normalized_url
from framecache.timeline import Timeline

if TYPE_CHECKING:
    from framecache.server import Tokens
    from framecache.server.state import Service

_WRITE_VARIABLE: Final = "FRAMECACHE_SERVE_TOKEN"
_READ_VARIABLE: Final = "FRAMECACHE_SERVE_READ_TOKEN"
_DEFAULT: Final = ParameterSource.DEFAULT
_UPLOAD_CLEANUP_SECONDS: Final = 5.0
"""Maximum time that Ctrl-C waits for uploads to clean up."""
_ROOT_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")
_UNTRUSTED_PROXY_WARNING: Final = (
    "behind a proxy that terminates TLS give --trusted-proxy: without it cookies are not "
    "marked Secure, and all clients of the proxy count as one address"
)
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

_log_option: Final = click.option(
    "--log",
    "log_form",
    type=click.Choice(["json", "text"]),
    help="Format of log lines on stderr.  [default: text on a terminal, else json]",
)


@click.command(epilog=_EPILOG)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port; 0 selects a free one. Without this option, another port is used if 8000 is taken.",
)
@click.option("--read-only", is_flag=True, help="Refuse requests that change the cache.")
@click.option(
    "--token-file", type=click.Path(dir_okay=False), help="File of tokens that may read and write."
)
@click.option(
    "--read-token-file", type=click.Path(dir_okay=False), help="File of tokens that may only read."
)
@click.option(
    "--allow-chunks",
    multiple=True,
    metavar="URL",
    help="Allowed location of videos: a folder or a URL prefix. May be repeated.",
)
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="Additional host name of this service. May be repeated.",
)
@click.option(
    "--trusted-proxy",
    multiple=True,
    metavar="ADDRESS",
    help="Proxy whose X-Forwarded-For and -Proto headers are trusted. May be repeated.",
)
@click.option("--root-path", default="", metavar="PATH", help="Path prefix that a proxy adds.")
@click.option(
    "--max-upload-bytes",
    type=click.IntRange(0),
    metavar="N",
    help="Maximum size of an uploaded video; 0 disables uploads.  [default: 20 GB]",
)
@click.option(
    "--requests-per-second",
    type=click.IntRange(1),
    metavar="N",
    help="Rate limit per client, or per address if there are no tokens.  [default: 200]",
)
@_log_option
@click.option(
    "--access-log/--no-access-log",
    "logs_requests",
    default=None,
    help="Log each request.  [default: not on a terminal]",
)
@click.option(
    "--open", "opens_browser", is_flag=True, help="Open the viewer in a browser, if there is one."
)
@click.option("--print-openapi", is_flag=True, help="Print the OpenAPI document, and exit.")
@cache_options
def serve(
    *,
    choice: CacheSelection,
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
    log_form: Literal["json", "text"] | None,
    logs_requests: bool | None,
    opens_browser: bool,
    print_openapi: bool,
) -> None:
    """Serve the cache over HTTP: frames, overlays and the viewer.

    On a loopback address every user of this machine may do everything, unless there are tokens.
    Any other address requires tokens. Ctrl-C ends the service; background tasks continue when it
    is started again.
    """
    require_extra("server", needed_by="serving")
    from framecache import server  # noqa: PLC0415 -- optional, and slow to import

    if print_openapi:
        document = server.create_app(FrameCache("memory://openapi")).openapi()
        click.echo(json.dumps(document, indent=1, sort_keys=True))
        return
    limits = server.Limits()
    if max_upload_bytes is not None:
        limits = replace(limits, upload_bytes=max_upload_bytes)
    if requests_per_second is not None:
        limits = replace(limits, requests_per_second=requests_per_second)
    settings = server.ServiceSettings(
        read_only=read_only,
        tokens=_tokens(token_file, read_token_file),
        allowed_chunks=tuple(normalized_url(url) for url in allow_chunks),
        allowed_hosts=_hosts(host, allow_host),
        root_path=_root_path(root_path),
        limits=limits,
    )
    app = server.create_app(choice.cache, settings)
    if settings.tokens and allow_host and not trusted_proxy:
        print_message(_UNTRUSTED_PROXY_WARNING)

    def announce(address: str) -> None:
        _announce(choice, address, opens_browser=opens_browser)

    is_chosen = click.get_current_context().get_parameter_source("port") is not _DEFAULT
    if not (is_chosen or _is_free(host, port)):
        port = 0
    service: Service = app.state.service
    with interrupts.delay_exit(service.has_active_uploads, timeout_seconds=_UPLOAD_CLEANUP_SECONDS):
        server.serve(
            app,
            host=host,
            port=port,
            trusted_proxies=tuple(trusted_proxy),
            log_form=log_form or _log_form(),
            logs_requests=not sys.stderr.isatty() if logs_requests is None else logs_requests,
            announce=announce,
        )


@click.command(name="open")
@timeline_argument
@click.option("--frame", type=click.IntRange(0), metavar="SEQUENCE", help="Show this frame first.")
@_log_option
@cache_options
def open_timeline(
    *,
    choice: CacheSelection,
    timeline_id: str,
    frame: int | None,
    log_form: Literal["json", "text"] | None,
) -> None:
    """Show a timeline in a browser.

    Serves the cache on a free port of this machine, read-only, until Ctrl-C. Without a screen, the
    URL is printed.
    """
    require_extra("server", needed_by="serving")
    from framecache import server  # noqa: PLC0415 -- optional, and slow to import

    timeline = choice.cache.timeline(timeline_id)
    known = timeline.info()
    if known.epoch is None and not known.exists and not timeline.jobs():
        raise NotCached(
            f"there is no timeline {timeline_id} in {choice.cache.store.display_name}: extract it "
            f"first, or see {choice.command_line('ls')}"
        )
    if frame is not None:
        _require_frame(timeline, frame)
    shown = {"timeline": timeline_id} | ({} if frame is None else {"frame": str(frame)})
    settings = server.ServiceSettings(read_only=True, tokens=_tokens(None, None))
    server.serve(
        server.create_app(choice.cache, settings),
        host="127.0.0.1",
        port=0,
        log_form=log_form or _log_form(),
        logs_requests=False,
        announce=lambda address: _announce(
            choice, f"{address}?{urlencode(shown)}", opens_browser=True
        ),
    )


def _require_frame(timeline: Timeline, sequence: int) -> None:
    """Raise NotCached if the index has no such frame."""
    index = timeline.index
    if index.position(sequence) is not None:
        return
    there = (
        f"its frames are {index.sequence[0]} to {index.sequence[-1]}"
        if len(index)
        else "it has none"
    )
    raise NotCached(f"timeline {timeline.timeline_id} has no frame {sequence}: {there}")


def _log_form() -> Literal["json", "text"]:
    return "text" if sys.stderr.isatty() else "json"


def _announce(choice: CacheSelection, address: str, *, opens_browser: bool) -> None:
    """Print the address of a service as the last line, and open it in a browser if requested."""
    if sys.stderr.isatty():
        print_message("press Ctrl-C to stop")
    # The address comes last, without a period, so that a terminal makes it a link.
    click.echo(f"framecache: Serving {escape_unprintable(choice.cache.url)} at {address}", err=True)
    if opens_browser and _has_display():
        # `webbrowser.open` waits for some browsers until they exit.
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _is_free(host: str, port: int) -> bool:
    """Return whether no program listens at an address; True as well if binding fails otherwise."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def _has_display() -> bool:
    """Return whether a graphical browser can open; text browsers show no pictures."""
    return sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def _tokens(token_file: str | None, read_token_file: str | None) -> "Tokens":
    from framecache.server import Tokens  # noqa: PLC0415 -- optional

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
        raise InvalidValue(
            f"the token file {file} contains non-ASCII characters: a token is printable ASCII"
        ) from error
    found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not found:
        raise InvalidValue(f"the token file {file} contains no token: put one on each line")
    return tokens + found


def _hosts(host: str, others: Sequence[str]) -> tuple[str, ...] | None:
    from framecache import server  # noqa: PLC0415 -- optional

    names = [name.lower() for name in others]
    if server.is_loopback(host):
        return (*server.LOOPBACK_NAMES, host, *names)
    return tuple(names) or None


def _root_path(path: str) -> str:
    if path in {"", "/"}:
        return ""
    if not _ROOT_PATH.fullmatch(path):
        raise InvalidValue(f"--root-path must be a path such as /frames, not {path!r}")
    return path.rstrip("/")
