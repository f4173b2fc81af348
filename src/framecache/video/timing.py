"""The time at which a decoded frame is shown."""

from av.video.frame import VideoFrame


class Clock:
    """Times of frames, in the order a decoder gives them: FFmpeg's best-effort timestamps.

    Containers such as AVI name only the order of decoding (DTS). Frames leave the decoder in
    the order of showing, each with the DTS that came with it, and these ascend just as their
    PTS would. PTS are believed until they fail to ascend more often than the DTS do.
    """

    def __init__(self, step: int, *, start: int = 0) -> None:
        """Say what to go by while nothing is known.

        Args:
            step: the PTS between two frames.
            start: the PTS of the first frame.
        """
        self._step = step
        self._start = start
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._last: int | None = None
        self._faulty_pts = 0
        self._faulty_dts = 0

    @staticmethod
    def knows(frame: VideoFrame) -> bool:
        """Whether the frame itself says anything of its time."""
        return frame.pts is not None or frame.dts is not None

    def tell(self, frame: VideoFrame) -> int:
        """The PTS of the next frame. One without any time follows the frame before it."""
        told = self._best_effort(frame)
        if told is None:
            told = self._start if self._last is None else self._last + self._step
        elif self._last is not None and told > self._last:
            self._step = told - self._last
        self._last = told
        return told

    def _best_effort(self, frame: VideoFrame) -> int | None:
        pts, dts = frame.pts, frame.dts
        if dts is not None:
            self._faulty_dts += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faulty_pts += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        trusted = pts if dts is None or self._faulty_pts <= self._faulty_dts else dts
        return trusted if trusted is not None else dts
