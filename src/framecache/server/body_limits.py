"""Limits on request bodies: bytes per body, bytes of all bodies together, and time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from framecache.server.problem_details import ProblemError, too_many_requests
from framecache.server.settings import Limits

SESSION_PATH: Final = "/api/v1/session"
_UPLOAD_PATH: Final = re.compile(r"/api/v1/timelines/[^/]+/uploads/[^/]+")
_MAX_SESSION_BYTES: Final = 4096
_MAX_SESSION_SECONDS: Final = 5.0


class BodyLimits:
    """Limits on the request bodies of one service; use only on the event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held_bytes = 0

    @contextmanager
    def limit_body(self, path: str, headers: Headers, receive: Receive) -> Iterator[Receive]:
        """Yield a bounded replacement for `receive`, valid until the request is answered.

        The replacement raises `ProblemError` as soon as the body is known to be too large, arrives
        too slowly, or does not fit into memory with the bodies of other requests. An upload is
        streamed to the store by a route with its own limit on pauses, so only its size is bounded
        here.

        Raises:
            ProblemError: the announced length of the body is too large.
        """
        if _UPLOAD_PATH.fullmatch(path):
            yield _limit_size(headers, receive, max_bytes=self._limits.upload_bytes)
            return
        most_bytes, seconds = self._limits.body_bytes, self._limits.body_seconds
        if path == SESSION_PATH:  # is read before the client is authenticated
            most_bytes, seconds = (
                min(most_bytes, _MAX_SESSION_BYTES),
                min(seconds, _MAX_SESSION_SECONDS),
            )
        timed = _limit_time(_limit_size(headers, receive, max_bytes=most_bytes), seconds=seconds)
        held_bytes = 0

        async def held() -> Message:
            nonlocal held_bytes
            message = await timed()
            size_bytes = len(message.get("body", b""))
            if self._held_bytes + size_bytes > self._limits.total_body_bytes:
                raise too_many_requests("Request bodies use too much memory: try again later.")
            self._held_bytes += size_bytes
            held_bytes += size_bytes
            return message

        try:
            yield held
        finally:
            self._held_bytes -= held_bytes


async def buffer_body(receive: Receive) -> Receive:
    """Receive a whole body, and return a `receive` that delivers it in one message.

    Raises:
        ClientDisconnect: the client disconnected.
        ProblemError: raised by `receive`.
    """
    blocks: list[bytes] = []
    more_body = True
    while more_body:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        blocks.append(message.get("body", b""))
        more_body = message.get("more_body", False)
    received: list[Message] = [
        {"type": "http.request", "body": b"".join(blocks), "more_body": False}
    ]

    async def again() -> Message:
        return received.pop() if received else await receive()

    return again


def _limit_size(headers: Headers, receive: Receive, *, max_bytes: int) -> Receive:
    too_large = ProblemError(413, "too_large", f"The body must have at most {max_bytes} bytes.")
    announced = headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > max_bytes:
        raise too_large
    received_bytes = 0

    async def sized() -> Message:
        nonlocal received_bytes
        message = await receive()
        received_bytes += len(message.get("body", b""))
        if received_bytes > max_bytes:
            raise too_large
        return message

    return sized


def _limit_time(receive: Receive, *, seconds: float) -> Receive:
    """Limit the time until the body is complete; later messages have no limit."""
    deadline = anyio.current_time() + seconds
    is_whole = False

    async def timed() -> Message:
        nonlocal is_whole
        if is_whole:
            return await receive()
        try:
            with anyio.fail_after(deadline - anyio.current_time()):
                message = await receive()
        except TimeoutError as error:
            raise ProblemError(
                408, "request_timeout", "The body did not arrive in time."
            ) from error
        is_whole = not message.get("more_body", False)
        return message

    return timed
