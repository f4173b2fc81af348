"""Running a service until it is told to end."""

import ipaddress
import socket
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI

from framecache.errors import InvalidValue
from framecache.http import logs

_GRACE_SECONDS: Final = 10
_IDLE_SECONDS: Final = 30


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(
    app: FastAPI,
    *,
    host: str,
    port: int,
    trusted_proxies: tuple[str, ...] = (),
    announce: Callable[[str], None],
) -> None:
    """Answer requests at an address until SIGINT or SIGTERM.

    Args:
        app: what `create_app` made.
        host: the address to bind to; one that others reach needs tokens.
        port: 0: any that is free.
        trusted_proxies: addresses whose ``X-Forwarded-For`` and ``-Proto`` are believed.
        announce: told the service's URL once it answers.

    Raises:
        InvalidValue: others would reach a service that asks for no token, or the address is taken
            or none of this machine's.
    """
    if not is_loopback(host) and not app.state.service.settings.tokens:
        raise InvalidValue(
            f"others can reach {host}, so a token is needed: give --token-file, or set "
            f"FRAMECACHE_SERVE_TOKEN; or serve on 127.0.0.1"
        )
    listening = _listening(host, port)
    logs.configure()
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        ws="none",
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    with listening:
        _Server(config, app, announce).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InvalidValue(
            f"cannot serve at {host}, port {port} ({error.strerror}): give another --port or --host"
        ) from error


class _Server(uvicorn.Server):
    """Ends the streams of events first, which would otherwise go on for ever."""

    def __init__(
        self, config: uvicorn.Config, app: FastAPI, announce: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self._app = app
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`."""
        await super().startup(sockets)
        if not self.should_exit:
            host, port, *_ = (sockets or self.servers[0].sockets)[0].getsockname()
            shown = f"[{host}]" if ":" in host else host
            self._announce(f"http://{shown}:{port}/")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server`."""
        self._app.state.service.stop()
        super().handle_exit(sig, frame)
