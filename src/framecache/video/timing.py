"""The time at which a decoded frame is shown."""

from fractions import Fraction

from av.video.frame import VideoFrame


class Clock:
    """Times of frames, in the order a decoder gives them: FFmpeg's best-effort timestamps.

    Containers such as AVI name only the order of decoding (DTS). Frames leave the decoder in
    the order of showing, each with the DTS that came with it, and these ascend just as their
    PTS would. PTS are believed until they fail to ascend more often than the DTS do.
    """

    def __init__(self, frame_duration: Fraction | None) -> None:
        """``frame_duration``, in units of PTS, stands in where nothing else is known."""
        self._step = round(frame_duration or 1) or 1
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._last: int | None = None
        self._faulty_pts = 0
        self._faulty_dts = 0

    def tell(self, frame: VideoFrame) -> int:
        """The PTS of the next frame. One without any time follows the frame before it."""
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
        return self._follow(trusted if trusted is not None else dts)

    def _follow(self, told: int | None) -> int:
        if told is None:
            told = 0 if self._last is None else self._last + self._step
        elif self._last is not None and told > self._last:
            self._step = told - self._last
        self._last = told
        return told
