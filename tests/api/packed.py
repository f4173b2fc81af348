"""Timelines in layout packs, for its tests."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Final

import clips
import numpy as np

from framecache import Frame, FrameCache, Timeline
from framecache.model import Layout
from framecache.store import Store, open_store
from framecache.testing import HookedStore, WrappingStore
from outside import frame, frames_of, outside

PREFIX: Final = "cache/timelines/t/"
MEGABYTE: Final = 1_000_000
FRAMES: Final = 45
"""Number of frames of `clips.chunks()`: 20, 10 and 15."""


def timeline(url: str, timeline_id: str = "t") -> Timeline:
    """Return a new handle, like another program's."""
    return FrameCache(url).timeline(timeline_id)


def extract(url: str, layout: Layout = "packs") -> None:
    timeline(url).extract(clips.chunks(), layout=layout)


def sequences(frames: Iterable[Frame]) -> list[int]:
    return [one.sequence for one in frames]


@cache
def expected_jpegs() -> list[bytes]:
    """The frames of `clips.chunks()` as layout objects stores them."""
    extract("memory://packs-expected", "objects")
    stored = frames_of(outside("memory://packs-expected"), "t")
    return [stored[f"{sequence}.jpg"] for sequence in range(FRAMES)]


def rows(url: str) -> list[dict[str, Any]]:
    """Return the rows of the index, as other programs read them."""
    found: list[dict[str, Any]] = timeline(url).index.to_arrow().to_pylist()
    return found


def without_location(row: dict[str, Any]) -> dict[str, Any]:
    """Row of a frame, except for the location of its JPEG."""
    return {name: value for name, value in row.items() if name not in {"key", "offset"}}


@cache
def filled(layout: Layout) -> Timeline:
    """Return a timeline whose frames are stored in the layout; no test changes it."""
    timeline(f"memory://packs-read-{layout}").extract(clips.chunks(), layout=layout)
    return timeline(f"memory://packs-read-{layout}")


def packed_store() -> Store:
    """Return the store in which `filled` has put a timeline into packs."""
    filled("packs")
    return open_store("memory://packs-read-packs")


class Ranges(HookedStore):
    """Store that records the ranges of frames that are read, and may look remote."""

    def __init__(self, inner: Store, *, is_remote: bool = False) -> None:
        super().__init__(inner)
        self.ranges: list[tuple[str, int, int]] = []
        """Key, first byte, and number of bytes of each."""
        self._is_remote = is_remote

    @property
    def url(self) -> str:
        return "s3://far-away" if self._is_remote else self.inner.url

    def get_range(self, key: str, *, start: int, length: int) -> bytes:
        if not key.endswith(".json"):
            self.ranges.append((key, start, length))
        return super().get_range(key, start=start, length=length)


def noise(sequence: int) -> Frame:
    """A frame of about 110 KB."""
    image = np.random.default_rng(sequence).integers(0, 256, (360, 400, 3), dtype=np.uint8)
    return Frame(sequence, 0, sequence / 8, image)


def near_and_far(store: Store) -> Iterator[tuple[Ranges, Timeline]]:
    """Yield new handles on local and remote-looking stores that record requests."""
    for is_remote in (False, True):
        ranges = Ranges(store, is_remote=is_remote)
        yield ranges, Timeline(ranges, "t")


def values_of(frames: Iterable[Frame]) -> list[tuple[object, ...]]:
    return [
        (one.sequence, one.chunk_id, one.timestamp, one.perceptual_hash, one.image.tobytes())
        for one in frames
    ]


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGE: Final[dict[str, Callable[[bytes, int], bytes | None]]] = {
    "a bit flipped": lambda pack, at: flip(pack, at + 200),
    "cut within the frame": lambda pack, at: pack[: at + 200],
    "cut before the frame": lambda pack, at: pack[: at - 700],
    "emptied": lambda _pack, _at: b"",
    "shifted": lambda pack, _at: b"\0" + pack[:-1],
    "lost": lambda _pack, _at: None,
}


def damage(url: str, sequence: int, how: str) -> str:
    """Damage a pack directly in the store; return its key."""
    row = next(row for row in rows(url) if row["sequence"] == sequence)
    key: str = row["key"]
    data = DAMAGE[how](outside(url).read(key), row["offset"])
    if data is None:
        outside(url).remove(key)
    else:
        outside(url).put(key, data)
    return key


class Breaking(WrappingStore):
    """Store that fails during an upload, after some blocks."""

    def __init__(self, inner: Store, error: BaseException, *, blocks: int) -> None:
        super().__init__(inner)
        self._error = error
        self._blocks = blocks

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        def some() -> Iterator[bytes]:
            for number, block in enumerate(blocks):
                if number == self._blocks:
                    raise self._error
                yield block

        self.inner.put_stream(key, some())


def run_at_request(
    action: str, within: str, do: Callable[[], object]
) -> Callable[[str, str], None]:
    """Return a hook that runs ``do`` before the first matching request."""
    left = [do]

    def hook(requested: str, key: str) -> None:
        if requested == action and within in key and left:
            left.pop()()

    return hook


def write(url: str, numbers: Iterable[int], **settings: Any) -> int:  # noqa: ANN401 -- passed on
    return timeline(url).write([frame(n) for n in numbers], **settings)
