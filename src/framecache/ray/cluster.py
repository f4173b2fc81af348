"""Connection to a Ray cluster, and the errors of its tasks."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import ray
from ray.exceptions import RayError, RayTaskError

from framecache.errors import ClusterUnavailable, FrameCacheError, InvalidValue

_LOOPBACK: Final = "127.0.0.1"
_CONNECT_SECONDS: Final = 5.0
_ATTEMPTS_VARIABLE: Final = "RAY_gcs_server_port_wait_time_s"
"""Variable of Ray with the number of times that it tries to reach a cluster."""
_HTTP2_SETTINGS: Final = b"\0\0\0\4\0\0\0\0\0"
"""Frame of HTTP/2 with no settings; its fourth byte is the type."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, unless the program is connected, and disconnect at the end.

    Args:
        address: ``host:port`` of the cluster, ``"auto"`` for the one of this machine, or
            ``"local"`` for one that is started for this call. None: the cluster that the program
            is connected to, else ``$RAY_ADDRESS``, else as ``"local"``.

    Raises:
        ClusterUnavailable: no cluster answers.
        InvalidValue: the address cannot be used, or the program is connected to another cluster.
    """
    if ray.is_initialized():
        current = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", current):
            raise InvalidValue(
                f"this program is connected to the Ray cluster at {current}, not {address}: leave "
                "the address out, or call ray.shutdown() first"
            )
        yield
        return
    _connect(address or os.environ.get("RAY_ADDRESS") or "local")
    try:
        yield
    finally:
        ray.shutdown()


def error_of(error: Exception, *, what: str) -> Exception:
    """Return the error to raise for a task that failed.

    Args:
        error: error that Ray raised for the task.
        what: description of the task, with which the message begins.
    """
    if isinstance(error, FrameCacheError) and not isinstance(error, RayTaskError):
        return error
    cause = error.cause if isinstance(error, RayTaskError) else None
    if isinstance(cause, Exception) and not isinstance(cause, RayError):
        return cause
    return ClusterUnavailable(
        f"{what}: {_first_line(cause or error)}: check the nodes of the cluster and their memory, "
        "then call again; committed segments stay cached"
    )


def _connect(address: str) -> None:
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        # It serves this process only.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        settings |= {"include_dashboard": False, "_node_ip_address": _LOOPBACK}
    elif address != "auto":
        _require_answer(address)
    try:
        with _environment({_ATTEMPTS_VARIABLE: "1"} if address != "local" else {}):
            ray.init(address=address, **settings)
    except Exception as error:  # Ray raises any class, Exception itself among them
        reason = _first_line(error)
        raise ClusterUnavailable(
            f"no Ray cluster could be started on this machine: {reason}: try again when it is less "
            "busy, or give the address of a cluster"
            if address == "local"
            else f"no Ray cluster answers at {address}: {reason}: give the address that "
            "'ray start --head' prints"
        ) from error


def _require_answer(address: str) -> None:
    """Check that a gRPC server listens at an address: Ray itself would try for minutes.

    Raises:
        InvalidValue: the address cannot be used.
        ClusterUnavailable: no such server answers.
    """
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None or "/" in address:
        raise InvalidValue(
            f"{address!r} is not the address of a Ray cluster: give host:port, as "
            "'ray start --head' prints it, or auto"
        )
    try:
        with closing(socket.create_connection((host, port), timeout=_CONNECT_SECONDS)) as server:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                _exchange_settings(server)
    except OSError as error:
        raise ClusterUnavailable(
            f"no Ray cluster answers at {address}: {error.strerror or error}: give the address "
            "that 'ray start --head' prints"
        ) from error


def _exchange_settings(server: socket.socket) -> None:
    """Begin HTTP/2, which gRPC uses: each side sends its settings first.

    Raises:
        OSError: the server speaks another protocol, or does not answer.
    """
    server.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _HTTP2_SETTINGS)
    header = b""
    while len(header) < len(_HTTP2_SETTINGS):
        received = server.recv(len(_HTTP2_SETTINGS) - len(header))
        if not received:
            break
        header += received
    if header[3:4] != _HTTP2_SETTINGS[3:4]:
        raise OSError("a server of another kind listens there")


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that are not set."""
    added = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".:") if lines else type(error).__name__
