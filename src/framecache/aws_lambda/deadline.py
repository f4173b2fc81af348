"""Time that an invocation may use."""

import time

from framecache.errors import OutOfTime


class Deadline:
    """Time at which work must stop, by the monotonic clock of this process."""

    def __init__(self, remaining_seconds: float, *, reserve_seconds: float) -> None:
        """Start now.

        Args:
            remaining_seconds: time until the caller is ended.
            reserve_seconds: part of it that is kept to stop in order; at most a quarter is kept.
        """
        self._remaining_seconds = remaining_seconds
        reserve = min(reserve_seconds, remaining_seconds / 4)
        self._at = time.monotonic() + remaining_seconds - reserve

    def check(self, *_: object) -> None:
        """Return while there is time; it can be called where a callback with a value is expected.

        Raises:
            OutOfTime: the time is over.
        """
        if time.monotonic() >= self._at:
            raise OutOfTime(
                f"stopped before the {self._remaining_seconds:.0f} s of this invocation were over; "
                "what was committed stays, and the next invocation continues. If this repeats for "
                "one chunk without a further segment, give the function more time or memory, or "
                "make chunks shorter"
            )
