"""What the bodies of requests may cost: bytes of one, bytes of all together, and time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio
from starlette.datastructures import Headers
from starlette.types import Message, Receive

from framecache.http.problems import Refusal, too_many
from framecache.http.settings import Limits

SESSION: Final = "/api/session"
_UPLOAD: Final = re.compile(r"/api/timelines/[^/]+/uploads/[^/]+")
_SESSION_BYTES: Final = 4096
_SESSION_SECONDS: Final = 5.0


class Bodies:
    """Bounds the bodies of one service; used on the event loop alone."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held_bytes = 0

    @contextmanager
    def of(self, path: str, headers: Headers, receive: Receive) -> Iterator[Receive]:
        """What a route is to receive in place of `receive`, until the request is answered.

        It raises `Refusal` as soon as the body is known to be too large, comes too slowly, or does
        not fit beside those of other requests. An upload is stored as it comes, by a route that
        has a limit of its own for pauses: only its size is bounded here.

        Raises:
            Refusal: the body is announced to be too large.
        """
        if _UPLOAD.fullmatch(path):
            yield _sized(headers, receive, most_bytes=self._limits.upload_bytes)
            return
        most_bytes, seconds = self._limits.body_bytes, self._limits.body_seconds
        if path == SESSION:  # which is read before anything is known of the one who asks
            most_bytes, seconds = min(most_bytes, _SESSION_BYTES), min(seconds, _SESSION_SECONDS)
        timed = _timed(_sized(headers, receive, most_bytes=most_bytes), seconds=seconds)
        held_bytes = 0

        async def held() -> Message:
            nonlocal held_bytes
            message = await timed()
            size_bytes = len(message.get("body", b""))
            if self._held_bytes + size_bytes > self._limits.bodies_bytes:
                raise too_many("The bodies of requests take too much memory.")
            self._held_bytes += size_bytes
            held_bytes += size_bytes
            return message

        try:
            yield held
        finally:
            self._held_bytes -= held_bytes


def _sized(headers: Headers, receive: Receive, *, most_bytes: int) -> Receive:
    too_large = Refusal(413, "too_large", f"A body has at most {most_bytes} bytes here.")
    announced = headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > most_bytes:
        raise too_large
    received_bytes = 0

    async def sized() -> Message:
        nonlocal received_bytes
        message = await receive()
        received_bytes += len(message.get("body", b""))
        if received_bytes > most_bytes:
            raise too_large
        return message

    return sized


def _timed(receive: Receive, *, seconds: float) -> Receive:
    """Give up a body that is not whole in time; what comes after it has no hurry."""
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
            raise Refusal(408, "too_slow", "The body did not come in time.") from error
        is_whole = not message.get("more_body", False)
        return message

    return timed
