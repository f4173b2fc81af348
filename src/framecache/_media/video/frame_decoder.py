"""Decoder of single frames of a video that stays open from one read to the next."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import numpy as np

from framecache._core.chunk_entry import ListedFrom
from framecache._media.video.container import Container
from framecache._media.video.decode_pass import (
    INDEXED_CONTAINERS,
    DecodePass,
    FastPassFailed,
    configure_fast_pass,
)
from framecache._media.video.decode_runs import DecodeRun, split_runs
from framecache._media.video.decoded import Decoded, Undecodable
from framecache._media.video.decoding import decode_tolerantly, rescan
from framecache._media.video.error_boundary import (
    VideoFile,
    expect_ranges,
    translate_iteration_errors,
)
from framecache._media.video.sample_check import EntryCheck
from framecache._media.video.scanning import VideoScan

_REORDERED: Final = 4
"""Packets that may come before that of the last wanted frame although they are shown after it."""
_SEEKABLE_CONTAINERS: Final = INDEXED_CONTAINERS | {"mpegts"}
"""Containers in which FFmpeg finds a time; where it finds another, the second pass decodes."""
_MIN_PTS: Final = -(2**63)


class FrameDecoder:
    """Decoder of single frames of a video. Used by one thread at a time.

    Its results are those of `decode`, of which it makes the same passes. It keeps the container and
    the decoder of the first pass, which a video with damage does not get beyond.
    """

    def __init__(
        self, file: VideoFile, scan: VideoScan, *, name: str, listed_from: ListedFrom
    ) -> None:
        """Open nothing yet.

        Args:
            file: the video that ``scan`` describes; it stays open as long as the decoder is used.
            scan: the result of ``scan`` for this video.
            name: name of the video in error messages.
            listed_from: what the frames of the scan were listed from. If from sample tables, the
                video is scanned at the first irregularity.
        """
        self._is_certain = listed_from == "packets"
        self._file = file
        self._scan = scan
        self._name = name
        self._container: Container | None = None
        self._pass: DecodePass | None = None
        self._fed_until = _MIN_PTS
        """Start of the latest run; a container without an index is read forward only."""
        self._items: Iterator[Decoded | Undecodable] | None = None
        self._upcoming: deque[int] = deque()
        self._remaining: deque[int] = deque()
        """Frames that the current run has yet to decode; shared with the pass."""

    @property
    def has_run(self) -> bool:
        """True if the current run has frames that it has yet to return."""
        return bool(self._upcoming)

    def is_ahead(self, pts: int) -> bool:
        """Return True if a frame is among those that the current run has yet to return."""
        return self._items is not None and pts in self._upcoming

    def begin(self, wanted: Sequence[int]) -> None:
        """Give up the current run, and begin one with these frames; decode nothing yet.

        Args:
            wanted: PTS out of ``scan.pts``, ascending.
        """
        self._end_run()
        self._upcoming = deque(wanted)
        self._items = _decode_run(self._file, self, wanted, name=self._name)

    def read_until(self, pts: int) -> Iterator[Decoded | Undecodable]:
        """Yield the next frames of the run, up to and including the one with this PTS.

        The frame must be ahead.
        """
        items = self._items
        assert items is not None
        for item in items:
            while self._upcoming and self._upcoming[0] <= item.pts:
                self._upcoming.popleft()
            yield item
            if item.pts >= pts:
                break
        if not self._upcoming:
            self._end_run()

    def close(self) -> None:
        """Close the container. The file stays open."""
        self._end_run()
        self._close_container()

    def _end_run(self) -> None:
        self._items = None  # which closes the generator
        self._upcoming.clear()

    def _close_container(self) -> None:
        if self._container is not None:
            self._container.__exit__()
        self._container = self._pass = None
        self._fed_until = _MIN_PTS

    def decode_run(self, file: VideoFile, wanted: Sequence[int]) -> Iterator[Decoded | Undecodable]:
        """Yield these frames in order of time, in two passes as `decode` does."""
        remaining = self._remaining
        remaining.clear()
        remaining.extend(wanted)
        if self._scan.packet_numbers is None:
            with suppress(FastPassFailed):
                yield from self._fast_pass(file)
            if remaining:
                self._close_container()
        if remaining and not self._is_certain:
            self._scan = rescan(file, self._scan, name=self._name)
            self._is_certain = True
        if remaining:
            yield from decode_tolerantly(file, self._scan, remaining, name=self._name)

    def _fast_pass(self, file: VideoFile) -> Iterator[Decoded | Undecodable]:
        for run in split_runs(self._scan, list(self._remaining)):
            yield from self._open_for(file, run).items([run])

    def _open_for(self, file: VideoFile, run: DecodeRun) -> DecodePass:
        """Return a pass whose container can be moved to the start of a run."""
        is_seekable = self._scan.container in _SEEKABLE_CONTAINERS
        can_move = run.start is not None and (is_seekable or run.start > self._fed_until)
        if self._pass is None or not can_move:
            self._close_container()
            self._container = Container(file, name=self._name)
            configure_fast_pass(self._container, threads=1)
            self._pass = DecodePass(
                self._container,
                self._scan,
                self._remaining,
                name=self._name,
                is_tolerant=False,
                check=self._create_check(self._container),
                seekable=_SEEKABLE_CONTAINERS,
            )
        self._fed_until = run.wanted[-1]
        self._announce(run)
        return self._pass

    def _create_check(self, container: Container) -> EntryCheck | None:
        if self._is_certain:
            return None
        return EntryCheck(container.codec, container.extradata)

    def _announce(self, run: DecodeRun) -> None:
        """Tell the file which bytes the run needs, as far as the container's index shows it."""
        if run.start is None or self._container is None:
            return
        first, last = np.searchsorted(self._scan.pts, [run.start, run.wanted[-1]])
        found = self._container.byte_range(run.start, int(last - first) + 1 + _REORDERED)
        expect_ranges(self._file, [] if found is None else [found])


@translate_iteration_errors
def _decode_run(
    file: VideoFile,
    decoder: FrameDecoder,
    wanted: Sequence[int],
    *,
    name: str,  # noqa: ARG001 -- for the decorator
) -> Iterator[Decoded | Undecodable]:
    yield from decoder.decode_run(file, wanted)
