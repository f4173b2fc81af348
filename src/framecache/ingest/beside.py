"""Looking whether work still counts, while it goes on."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class Beside:
    """Calls a check on a thread of its own, so that nobody waits for the store's answer.

    A context manager. What a check raises is raised by the next call, or where the context ends,
    unless that is left by another error.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        """Call nothing yet.

        Args:
            check: raises when the work counts no longer.
        """
        self._check = check
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="framecache-check")
        self._running: Future[None] | None = None

    def __call__(self) -> None:
        """Begin a check once the one before is done; raises what that raised."""
        self._await()
        self._running = self._thread.submit(self._check)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown()
        if error is None:
            self._await()

    def _await(self) -> None:
        if self._running is not None:
            self._running.result()
