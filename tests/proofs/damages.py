"""Damage to blobs, of every kind, and the timeline that it is done to."""

import random
from collections.abc import Callable, Iterator
from typing import Final

import media
from framecache.store import Store

FRAMES: Final = 45
"""Number of frames of `chunks`."""
PREFIX: Final = "cache/timelines/t/"
Damage = Callable[[random.Random, bytes], bytes]


def chunks() -> list[str]:
    """Three clips of different lengths, with B-frames."""

    def make(frames: int) -> str:
        path = media.made(
            f"proof-damage-{frames}.mp4",
            lambda to: media.make_clip(
                to, size=(96, 64), rate="25", frames=frames, extra=["-g", "10", "-bf", "2"]
            ),
        )
        return str(path)

    return [make(frames) for frames in (20, 10, 15)]


def blobs_of(store: Store) -> dict[str, bytes]:
    """Return all blobs except the access log."""
    listed = [blob.key for blob in store.list(PREFIX)]
    return {key: store.get(key) for key in listed if key != f"{PREFIX}used"}


def _truncated(choose: random.Random, body: bytes) -> bytes:
    return body[: choose.randrange(len(body))]


def _truncated_at_its_edges(choose: random.Random, body: bytes) -> bytes:
    kept = choose.randrange(16)
    return body[: choose.choice([kept, len(body) - 1 - kept])]


def _with_a_flipped_bit(choose: random.Random, body: bytes) -> bytes:
    return _with_flipped(body, [choose.randrange(8 * len(body))])


def _with_flipped_bits(choose: random.Random, body: bytes) -> bytes:
    return _with_flipped(body, choose.sample(range(8 * len(body)), choose.randrange(2, 20)))


def _with_a_flipped_bit_near_its_end(choose: random.Random, body: bytes) -> bytes:
    """Flip a bit near the end, where a Parquet file states the position of its footer."""
    return _with_flipped(body, [8 * len(body) - 1 - choose.randrange(8 * 16)])


def _zeroed_in_part(choose: random.Random, body: bytes) -> bytes:
    start, stop = _range(choose, body)
    return body[:start] + bytes(stop - start) + body[stop:]


def _overwritten_in_part(choose: random.Random, body: bytes) -> bytes:
    start, stop = _range(choose, body)
    return body[:start] + choose.randbytes(stop - start) + body[stop:]


def _with_a_part_twice(choose: random.Random, body: bytes) -> bytes:
    start, stop = _range(choose, body)
    return body[:stop] + body[start:]


def _without_a_part(choose: random.Random, body: bytes) -> bytes:
    start, stop = _range(choose, body)
    return body[:start] + body[stop:]


DAMAGES: Final[list[Damage]] = [
    _truncated,
    _truncated_at_its_edges,
    _with_a_flipped_bit,
    _with_flipped_bits,
    _with_a_flipped_bit_near_its_end,
    _zeroed_in_part,
    _overwritten_in_part,
    _with_a_part_twice,
    _without_a_part,
]


def _range(choose: random.Random, body: bytes) -> tuple[int, int]:
    start = choose.randrange(len(body))
    length = choose.choice([1, 4, 64, 512, len(body)])
    return start, min(len(body), start + choose.randint(1, length))


def _with_flipped(body: bytes, bits: list[int]) -> bytes:
    damaged = bytearray(body)
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def damaged_bodies(body: bytes, seed: int) -> Iterator[bytes]:
    """Yield damaged copies of a body, by every kind of damage in turn, without end."""
    choose = random.Random(seed)
    while True:
        for damage in DAMAGES:
            damaged = damage(choose, body)
            if damaged != body:  # overwriting zeros by zeros causes no damage
                yield damaged
