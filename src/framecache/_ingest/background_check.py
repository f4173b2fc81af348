"""Background check that work in progress is still valid."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class BackgroundCheck:
    """Check that runs on its own thread, so that the caller does not wait for the store.

    A context manager. An error that a check raises is raised by the next call or at the end of the
    context, unless the context ends with another error.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        """Initialize without running the check.

        Args:
            check: raises if the work is no longer valid.
        """
        self._check = check
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="framecache-check")
        self._pending: Future[None] | None = None

    def __call__(self) -> None:
        """Wait for the previous check, raise its error if it failed, and start another."""
        self._wait()
        self._pending = self._thread.submit(self._check)

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
            self._wait()

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()
