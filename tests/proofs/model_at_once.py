"""Programs without threads that never wait, so that findings can be reproduced."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from framecache._core.threads import RequestThreads


@contextmanager
def at_once() -> Iterator[None]:
    """Make pools run work immediately, and uploads when their result is requested."""
    with (
        _haste(),
        patch.object(ThreadPoolExecutor, "submit", _submit_inline),
        patch.object(RequestThreads, "submit", _submit_inline),
        patch("framecache._layouts.pack_upload.ThreadPoolExecutor", _Postponing),
    ):
        yield


@contextmanager
def _haste() -> Iterator[None]:
    """Let the clock advance 12 s at each reading, so that leases of dead programs expire."""
    now = 0.0

    class Clock:
        def monotonic(self) -> float:
            nonlocal now
            now += 12
            return now

    with (
        patch("framecache._index.lease.time", Clock()),
        patch("framecache._ingest.work_queue._MIN_WAIT_SECONDS", 0.0005),
        patch("framecache._ingest.work_queue._MAX_WAIT_SECONDS", 0.0005),
        patch("framecache._ingest.epochs._POLL_SECONDS", 0.0005),
        patch("framecache._maintain.rewriting._POLL_SECONDS", 0.0005),
        patch("framecache._maintain.verify.repair._POLL_SECONDS", 0.0005),
        patch("framecache._ingest.relocation._POLL_SECONDS", 0.0005),
    ):
        yield


def _submit_inline(
    _: Executor,
    work: Callable[..., Any],
    /,
    *given: Any,  # noqa: ANN401 -- passed on
    **named: Any,  # noqa: ANN401 -- passed on
) -> "Future[Any]":
    future = Future[Any]()
    _settle(future, lambda: work(*given, **named))
    return future


class _Postponed(Future[Any]):
    """Future whose work runs when its result is requested."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work

    def result(self, timeout: float | None = None) -> Any:  # noqa: ANN401 -- the work's
        self.settle()
        return super().result(timeout)

    def settle(self) -> None:
        if not self.done():
            _settle(self, self._work)


class _Postponing:
    """Pool for work that proceeds while it receives its input."""

    def __init__(self, *_: object, **__: object) -> None:
        self._given: list[_Postponed] = []

    def submit(self, work: Callable[[], Any]) -> _Postponed:
        self._given.append(_Postponed(work))
        return self._given[-1]

    def shutdown(self) -> None:
        for one in self._given:
            one.settle()


def _settle(future: "Future[Any]", work: Callable[[], Any]) -> None:
    future.set_running_or_notify_cancel()
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 -- as a pool does
        future.set_exception(error)
