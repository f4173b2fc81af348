"""Programs without threads that wait for nobody, so that whatever is found happens again."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


@contextmanager
def at_once() -> Iterator[None]:
    """Within, pools do at once what they are given; an upload, when its result is asked for."""
    with (
        _haste(),
        patch.object(ThreadPoolExecutor, "submit", _submit_inline),
        patch("framecache.ingest.pack_storage.ThreadPoolExecutor", _Postponing),
    ):
        yield


@contextmanager
def _haste() -> Iterator[None]:
    """Whoever died is taken over from at once: 12 seconds pass whenever somebody looks."""
    now = 0.0

    class Clock:
        def monotonic(self) -> float:
            nonlocal now
            now += 12
            return now

    with (
        patch("framecache.claims.time", Clock()),
        patch("framecache.ingest.sharing._FIRST_WAIT_SECONDS", 0.0005),
        patch("framecache.ingest.sharing._LONGEST_WAIT_SECONDS", 0.0005),
        patch("framecache.ingest.epochs._LOOK_AGAIN_SECONDS", 0.0005),
        patch("framecache.repack.run._LOOK_AGAIN_SECONDS", 0.0005),
        patch("framecache.verify.repair._LOOK_AGAIN_SECONDS", 0.0005),
        patch("framecache.ingest.settling._LOOK_AGAIN_SECONDS", 0.0005),
    ):
        yield


def _submit_inline(
    _: ThreadPoolExecutor,
    work: Callable[..., Any],
    /,
    *given: Any,  # noqa: ANN401 -- passed on
    **named: Any,  # noqa: ANN401 -- passed on
) -> "Future[Any]":
    future = Future[Any]()
    _settle(future, lambda: work(*given, **named))
    return future


class _Postponed(Future[Any]):
    """Done when it is asked for."""

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
    """A pool for work that goes on while it is given what it works on."""

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
