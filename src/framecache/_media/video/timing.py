"""Times of pictures in containers that state only decoding times (DTS)."""


class BestEffortClock:
    """FFmpeg's best-effort timestamps for pictures in the order in which a decoder outputs them.

    Containers such as AVI state only DTS. The decoder outputs pictures in display order, each with
    the DTS of the packet after which it was output. These DTS ascend as the PTS would. PTS are
    used until they have failed to ascend more often than the DTS.
    """

    def __init__(self) -> None:
        """Start before the first picture."""
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._faulty_pts = 0
        self._faulty_dts = 0

    def next_time(self, pts: int | None, dts: int | None) -> int | None:
        """Return the time of the next picture; None if it has neither PTS nor DTS."""
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
