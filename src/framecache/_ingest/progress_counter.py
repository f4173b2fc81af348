"""Thread-safe count of what an extraction has done."""

from collections import Counter
from collections.abc import Sequence
from threading import Lock

from framecache._core.chunk_entry import Segment
from framecache.model import Progress, ProgressCallback


class ProgressCounter:
    """Count of the frames and segments that are done.

    The callback is called under a lock, so it need not be thread-safe.
    """

    def __init__(self, segments: Sequence[Segment], callback: ProgressCallback | None) -> None:
        self._frames_total = sum(segment.frame_count for segment in segments)
        self._segments_total = len(segments)
        self._frames_done = self._segments_done = 0
        self._done_by_part = Counter[str]()
        self.callback = callback
        self._lock = Lock()

    def add_frame(self, segment: Segment) -> None:
        """Count a frame that was stored, or that proved undecodable."""
        with self._lock:
            self._advance(segment.part, 1)
            self._report(())

    def finish(self, segment: Segment) -> None:
        """Count the remaining frames of a segment that this run or another committed."""
        with self._lock:
            self._segments_done += 1
            missing = segment.frame_count - self._done_by_part[segment.part]
            self._advance(segment.part, missing)
            if missing or self._segments_total > 1:
                self._report(())

    def report_waiting(self, segments: Sequence[Segment]) -> None:
        """Report that only these segments are left, all being extracted by others."""
        with self._lock:
            self._report(segments)

    def _advance(self, part: str, frames: int) -> None:
        self._done_by_part[part] += frames
        self._frames_done += frames

    def _report(self, elsewhere: Sequence[Segment]) -> None:
        if self.callback is not None:
            self.callback(
                Progress(
                    frames_done=self._frames_done,
                    frames_total=self._frames_total,
                    chunks_elsewhere=len({segment.chunk.chunk_id for segment in elsewhere}),
                    segments_done=self._segments_done,
                    segments_total=self._segments_total,
                )
            )
