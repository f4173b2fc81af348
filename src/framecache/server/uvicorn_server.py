"""Running a service until it is asked to stop."""

import ipaddress
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI

from framecache.errors import InvalidValue
from framecache.server import logs
from framecache.server.connections import ACCEPT_BATCH_SIZE, protocol_class
from framecache.server.state import Service

_SHUTDOWN_TIMEOUT_SECONDS: Final = 10
_KEEP_ALIVE_SECONDS: Final = 30
_LISTEN_BACKLOG: Final = 2048
"""Length of the kernel's queue of connections that are not accepted yet."""


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine can reach an address."""
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
    log_form: logs.LogFormat = "json",
    logs_requests: bool = True,
    announce: Callable[[str], None],
) -> None:
    """Serve an application at an address until SIGINT or SIGTERM.

    Args:
        app: application made by `create_app`.
        host: address to bind to; tokens are required unless it is a loopback address.
        port: port to bind to; 0 for any free port.
        trusted_proxies: addresses whose ``X-Forwarded-For`` and ``-Proto`` are trusted.
        log_form: format of the log on stderr.
        logs_requests: True to log each request.
        announce: called with the service's URL once it accepts requests.

    Raises:
        InvalidValue: the address is not loopback and there are no tokens, or the address is in use
            or does not belong to this machine.
    """
    if not is_loopback(host) and not app.state.service.settings.tokens:
        raise InvalidValue(
            f"{host} can be reached from other machines, so a token is required: give "
            "--token-file, or set FRAMECACHE_SERVE_TOKEN; or serve on 127.0.0.1"
        )
    listening = open_socket(host, port)
    logs.configure(log_form, logs_requests=logs_requests)
    with listening:
        _Server(uvicorn_config(app, trusted_proxies), app, announce).run(sockets=[listening])


def uvicorn_config(app: FastAPI, trusted_proxies: tuple[str, ...] = ()) -> uvicorn.Config:
    """Return the configuration with which uvicorn serves an application of `create_app`."""
    service: Service = app.state.service
    protocol = protocol_class(service.settings.limits)
    service.metrics.add_gauge("open_connections", "Connections.", lambda: len(protocol.registry))
    return uvicorn.Config(
        app,
        port=0,
        http=protocol,
        backlog=ACCEPT_BATCH_SIZE,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT_SECONDS,
    )


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        InvalidValue: the address is in use, or does not belong to this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InvalidValue(
            f"cannot serve at {host}, port {port} ({error.strerror}): give another --port or --host"
        ) from error


class _Server(uvicorn.Server):
    """Server that ends the event streams first at shutdown; they would never end by themselves.

    Connections whose requests are still arriving are closed next: see `HttpConnection.shutdown`.
    """

    def __init__(
        self, config: uvicorn.Config, app: FastAPI, announce: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self._app = app
        self._announce = announce
        self._ignores_interrupt = signal.getsignal(signal.SIGINT) is signal.SIG_IGN

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`."""
        await super().startup(sockets)
        for listening in sockets or []:
            # uvicorn has one setting for the connections accepted at a time and for this queue.
            listening.listen(_LISTEN_BACKLOG)
        if not self.should_exit:
            host, port, *_ = (sockets or self.servers[0].sockets)[0].getsockname()
            shown = f"[{host}]" if ":" in host else host
            self._announce(f"http://{shown}:{port}/")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server`."""
        if sig == signal.SIGINT and self._ignores_interrupt:
            return  # a shell makes background processes ignore SIGINT
        self._app.state.service.stop()
        super().handle_exit(sig, frame)
