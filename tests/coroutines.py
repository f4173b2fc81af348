"""Running of coroutines in tests."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")


def run_coroutine(work: Coroutine[Any, Any, _T], *, debug: bool = False) -> _T:
    """Run a coroutine in a thread of its own, and return its result.

    A browser that earlier tests have started leaves an event loop in the main thread.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work, debug=debug).result()
