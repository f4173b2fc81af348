"""Times of pictures in containers that name only the order of decoding."""


class BestEffortClock:
    """Times of pictures, in the order a decoder gives them: FFmpeg's best-effort timestamps.

    Containers such as AVI name only the order of decoding (DTS). Pictures leave the decoder in
    the order of showing, each with the DTS that came with it, and these ascend just as their
    PTS would. PTS are believed until they fail to ascend more often than the DTS do.
    """

    def __init__(self) -> None:
        """Know of no picture yet."""
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._faulty_pts = 0
        self._faulty_dts = 0

    def tell(self, pts: int | None, dts: int | None) -> int | None:
        """Return the time of the next picture; None when nothing is known of it."""
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
