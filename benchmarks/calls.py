"""Count the calls that framecache makes inside itself: ``python -m benchmarks.calls CLIP``.

For common operations on a store in memory, it prints the number of calls of framecache's own
functions, in all threads, and the number of modules that they are in. The fewer of both, the easier
an operation is to follow. ``CLIP`` is a video of three frames.
"""

import argparse
import asyncio
import sys
import threading
from collections import Counter, defaultdict
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

    by_function: Counter[tuple[str, str]]
    """Number of calls of each function, by its file and its qualified name."""

    def __str__(self) -> str:
        modules = {file for file, _ in self.by_function}
        return f"{self.by_function.total():,} calls in {len(modules)} modules"

    def listing(self) -> str:
        """Return one line for each module and each of its functions, most calls first."""
        functions = defaultdict[str, Counter[str]](Counter)
        for (file, function), calls in self.by_function.items():
            functions[file.removeprefix(f"{PACKAGE}/")][function] += calls
        lines = list[str]()
        for module, counts in sorted(functions.items(), key=lambda item: -item[1].total()):
            lines.append(f"{counts.total():8,}  {module}")
            lines += [f"{count:16,}  {function}" for function, count in counts.most_common()]
        return "\n".join(lines)


class Profile:
    """Notes each call of framecache's functions, in this thread and in those started later."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, str]] = []

    def start(self) -> None:
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def clear(self) -> None:
        self._calls.clear()

    def calls(self) -> Calls:
        """Return the calls since the last `clear`."""
        return Calls(Counter(self._calls.copy()))

    def calls_of(self, operation: Callable[[], object]) -> Calls:
        """Return the calls that an operation makes."""
        self.clear()
        operation()
        return self.calls()

    def _note(self, frame: FrameType, event: str, _: Any) -> None:  # noqa: ANN401 -- as Python has it
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            self._calls.append((code.co_filename, code.co_qualname))


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
    parser.add_argument("--list", action="store_true", help="list modules and functions too")
    args = parser.parse_args()
    for operation, calls in measure(args.clip).items():
        print(f"{operation}: {calls}")
        if args.list:
            print(calls.listing())


if __name__ == "__main__":
    main()
