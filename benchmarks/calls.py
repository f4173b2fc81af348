"""Count the calls that framecache makes inside itself: ``python -m benchmarks.calls CLIP``.

For common operations on a store in memory, it prints the number of calls of framecache's own
functions, in all threads, and the number of modules that they are in. The fewer of both, the easier
an operation is to follow. ``CLIP`` is a video of three frames.
"""

import argparse
import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import httpx

import framecache
from framecache import FrameCache
from framecache.server import create_app

PACKAGE = str(Path(framecache.__file__).parent)


class Calls(NamedTuple):
    """Calls of framecache's functions."""

    total: int
    modules: int

    def __str__(self) -> str:
        return f"{self.total:,} calls in {self.modules} modules"


class Profile:
    """Notes each call of framecache's functions, in this thread and in those started later."""

    def __init__(self) -> None:
        self._files: list[str] = []

    def start(self) -> None:
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def clear(self) -> None:
        self._files.clear()

    def calls(self) -> Calls:
        """Return the calls since the last `clear`."""
        files = self._files.copy()
        return Calls(len(files), len(set(files)))

    def calls_of(self, operation: Callable[[], object]) -> Calls:
        """Return the calls that an operation makes."""
        self.clear()
        operation()
        return self.calls()

    def _note(self, frame: FrameType, event: str, _: Any) -> None:  # noqa: ANN401 -- as Python has it
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self._files.append(frame.f_code.co_filename)


def measure(clip: str) -> dict[str, Calls]:
    """Return the calls of each operation.

    Each operation ran before, so that nothing is imported and caches are filled.
    """
    profile = Profile()
    profile.start()
    cache = FrameCache("memory://calls")
    timeline = cache.timeline("t")
    timeline.extract([clip])
    timeline.frame(0)
    found = {
        "frame(), timeline open": profile.calls_of(lambda: timeline.frame(1)),
        "extract() of 3 frames": profile.calls_of(lambda: cache.timeline("u").extract([clip])),
    }
    found["HTTP GET of a stored frame, timeline known"] = asyncio.run(_calls_of_get(cache, profile))
    return found


async def _calls_of_get(cache: FrameCache, profile: Profile) -> Calls:
    transport = httpx.ASGITransport(create_app(cache), client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        for _ in range(2):
            profile.clear()
            answer = await client.get("/api/v1/timelines/t/frames/0.jpg")
            answer.raise_for_status()
    return profile.calls()


def main() -> None:
    """Print the calls of each operation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls", description=__doc__)
    parser.add_argument("clip", metavar="CLIP", help="a video of three frames")
    for operation, calls in measure(parser.parse_args().clip).items():
        print(f"{operation}: {calls}")


if __name__ == "__main__":
    main()
