"""Reading from asyncio: calls and iterators of the library, on threads.

A task that is canceled ends at once. The request that its thread is making is not interrupted: its
result is dropped, and an iterator is closed on its thread afterwards.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from threading import Event
from typing import Final, ParamSpec, TypeVar

from framecache._core.threads import PerProcess, RequestThreads

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Item = TypeVar("Item")

_CONCURRENT_CALLS: Final = 32
_END: Final = object()

_calls: Final = PerProcess(lambda: RequestThreads(_CONCURRENT_CALLS, name="framecache-request"))
"""Threads of the calls of all event loops."""


async def run_async(
    call: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Run a call on a thread, and return its result; further calls wait for a free thread."""
    return await asyncio.wrap_future(_calls.value.submit(call, *args, **kwargs))


async def iterate_async(
    make: Callable[[Event], Iterator[Item]],
) -> AsyncGenerator[Item]:
    """Yield the items of an iterator that a thread makes and advances, one at a time.

    Args:
        make: returns the iterator, which ends a wait if the event that it is given is set.
    """
    threads = RequestThreads(1, name="framecache-iterate")
    stopped = Event()
    made: list[Iterator[Item]] = []

    def advance() -> Item | object:
        if not made:
            made.append(make(stopped))
        return next(made[0], _END)

    def close() -> None:
        for iterator in made:
            close_iterator = getattr(iterator, "close", None)
            if close_iterator is not None:
                close_iterator()

    try:
        while (item := await asyncio.wrap_future(threads.submit(advance))) is not _END:
            yield item  # type: ignore[misc]  # not the end
    finally:
        stopped.set()
        # On the same thread, because a canceled task may have left the iterator running there.
        threads.submit(close)
        threads.shutdown(wait=False)
