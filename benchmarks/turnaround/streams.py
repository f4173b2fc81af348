"""One direction of a connection: heads and lines are read, bodies pass through a pipe unseen.

``splice`` moves pages from socket to socket: no byte of a body is copied into this process.
"""

import fcntl
import os
import time
from collections.abc import Generator
from typing import Final

from benchmarks.turnaround.framing import (
    LONGEST_HEAD_BYTES,
    BadMessage,
    Body,
    Length,
    chunk_size,
)
from benchmarks.turnaround.loop import At, Readable, Step, Wait, Writable
from benchmarks.turnaround.pace import BURST_BYTES, Line

_HEAD_BYTES: Final = 4096
_WITHOUT_END: Final = 2**62


class Ended(OSError):
    """The sender closed the connection."""


class Stream:
    """Passes what ``source`` sends to ``sink``; both descriptors are non-blocking."""

    def __init__(self, source: int, sink: int, line: Line) -> None:
        self._source, self._sink, self._line = source, sink, line
        self._held = b""
        self._pipe: tuple[int, int] | None = None

    def close(self) -> None:
        """Close the pipe; the sockets are their owner's."""
        if self._pipe is not None:
            os.close(self._pipe[0])
            os.close(self._pipe[1])

    def head(self) -> Generator[Wait, None, bytes]:
        """Take in a message's head, with its empty line.

        Raises:
            Ended: the sender is done.
        """
        return (yield from self._through(b"\r\n\r\n"))

    def write(self, data: bytes) -> Step:
        """Send what was taken in."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._sink, rest) :]
            except BlockingIOError:
                yield Writable(self._sink)

    def body(self, length: Length) -> Step:
        """Pass a body on, no faster than the line allows."""
        self._line.begin(time.monotonic())
        if length is Body.CHUNKED:
            yield from self._chunks()
        elif length is Body.TO_THE_END:
            yield from self._pass(_WITHOUT_END)
        elif isinstance(length, int):
            yield from self._pass(length)

    def _chunks(self) -> Step:
        size = -1
        while size:
            first = yield from self._through(b"\r\n")
            yield from self.write(first)
            size = chunk_size(first)
            if size:
                yield from self._pass(size + 2)
        trailer = b""
        while trailer != b"\r\n":
            trailer = yield from self._through(b"\r\n")
            yield from self.write(trailer)

    def _through(self, mark: bytes) -> Generator[Wait, None, bytes]:
        while mark not in self._held:
            if len(self._held) > LONGEST_HEAD_BYTES:
                raise BadMessage("a head without an end")
            try:
                data = os.read(self._source, _HEAD_BYTES)
            except BlockingIOError:
                yield Readable(self._source)
                continue
            if not data:
                raise Ended
            self._held += data
        end = self._held.index(mark) + len(mark)
        taken, self._held = self._held[:end], self._held[end:]
        return taken

    def _pass(self, left: int) -> Step:
        while left:
            granted = self._line.granted_bytes(time.monotonic(), left)
            if not granted:
                yield At(self._line.ready_at(left))
                continue
            if self._held:
                part, self._held = self._held[:granted], self._held[granted:]
                yield from self.write(part)
                moved = len(part)
            else:
                moved = yield from self._splice(granted)
            self._line.sent(moved)
            left -= moved

    def _splice(self, most: int) -> Generator[Wait, None, int]:
        """Pass on what is there, at most that much; waits when nothing is."""
        out, into = self._open_pipe()
        while True:
            try:
                moved = _splice(self._source, into, most)
                break
            except BlockingIOError:
                yield Readable(self._source)
        if not moved:
            raise Ended
        inside = moved
        while inside:
            try:
                inside -= _splice(out, self._sink, inside)
            except BlockingIOError:
                yield Writable(self._sink)
        return moved

    def _open_pipe(self) -> tuple[int, int]:
        if self._pipe is None:
            self._pipe = os.pipe()
            fcntl.fcntl(self._pipe[1], fcntl.F_SETPIPE_SZ, BURST_BYTES)
        return self._pipe


def _splice(source: int, sink: int, most: int) -> int:
    return os.splice(source, sink, most, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
