"""Where two stages' overlays differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Final

import numpy as np

from framecache.overlays.listing import Drawn
from framecache.overlays.picture import MAX_BYTES, MAX_PIXELS
from framecache.overlays.png import BadPng, announced_size, png_size
from framecache.reader import ordered
from framecache.store import BlobInfo, BlobMissing, Store

_CONCURRENT_PAIRS: Final = 16
_FETCHED_BYTES: Final = 256 * 2**20
"""Of PNGs that are compared at a time."""
_ETAGS_OF_CONTENT: Final = ("s3://", "gs://")
"""Stores where two blobs have the same ETag only if they have the same bytes."""
_DEEP: Final = 257
"""What an 8-bit level is worth among 16-bit ones."""

_decoding: Final = BoundedSemaphore(2)
"""Pairs of pictures that are decoded at a time, whoever compares."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """One overlay on both sides, as they are listed."""

    drawn: Drawn
    one: BlobInfo
    other: BlobInfo


def differences(
    one_store: Store,
    one: Mapping[Drawn, BlobInfo],
    other_store: Store,
    other: Mapping[Drawn, BlobInfo],
) -> dict[int, tuple[str, ...]]:
    """Which overlays differ, ``{sequence: names}``, ascending.

    Sizes and ETags of the listings are compared first, then bytes, then pixels.
    """
    differing: set[Drawn] = one.keys() ^ other.keys()
    pairs: list[_Pair] = []
    etags_tell = one_store.url == other_store.url and one_store.url.startswith(_ETAGS_OF_CONTENT)
    for drawn in one.keys() & other.keys():
        pair = _Pair(drawn, one[drawn], other[drawn])
        if not (etags_tell and _are_listed_alike(pair)):
            pairs.append(pair)
    largest = max((max(pair.one.size_bytes, pair.other.size_bytes) for pair in pairs), default=1)
    threads = max(2, min(_CONCURRENT_PAIRS, _FETCHED_BYTES // (2 * max(1, largest))))
    results = ordered(
        lambda pair: _differ(one_store, other_store, pair),
        pairs,
        threads=threads,
        ahead=2 * threads,
    )
    differing |= {pair.drawn for pair, differs in zip(pairs, results, strict=True) if differs}
    names: dict[int, list[str]] = {}
    for sequence, name in sorted(differing):
        names.setdefault(sequence, []).append(name)
    return {sequence: tuple(found) for sequence, found in names.items()}


def _are_listed_alike(pair: _Pair) -> bool:
    is_known = bool(pair.one.etag)
    return is_known and (pair.one.size_bytes, pair.one.etag) == (
        pair.other.size_bytes,
        pair.other.etag,
    )


def _differ(one_store: Store, other_store: Store, pair: _Pair) -> bool:
    # No program stored these by framecache; reading them would take any amount of memory.
    if max(pair.one.size_bytes, pair.other.size_bytes) > MAX_BYTES:
        return True
    try:
        one, other = one_store.get(pair.one.key), other_store.get(pair.other.key)
    except BlobMissing:
        return True  # removed since it was listed
    return one != other and not _look_alike(one, other)


def _look_alike(one: bytes, other: bytes) -> bool:
    """Whether two files are PNGs of the same pixels."""
    try:
        width, height = announced_size(one)
        if announced_size(other) != (width, height) or width * height > MAX_PIXELS:
            return False
        png_size(one)
        png_size(other)
    except BadPng:
        return False
    with _decoding:
        pixels, others = _decoded(one), _decoded(other)
        if pixels is None or others is None:
            return False
        if pixels.shape == others.shape and pixels.dtype == others.dtype:
            return np.array_equal(pixels, others)
        return np.array_equal(_as_deep_color(pixels), _as_deep_color(others))


def _decoded(png: bytes) -> np.ndarray | None:
    import cv2  # noqa: PLC0415 -- a tenth of a second that programs without overlays need not pay

    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


def _as_deep_color(pixels: np.ndarray) -> np.ndarray:
    """Gray or colour, of 8 or 16 bits, with or without alpha: as 16-bit colour with alpha."""
    deep = pixels if pixels.dtype == np.uint16 else pixels.astype(np.uint16) * np.uint16(_DEEP)
    color = deep[:, :, None] if deep.ndim == 2 else deep  # noqa: PLR2004 -- gray
    color = np.repeat(color, 3, axis=2) if color.shape[2] == 1 else color
    if color.shape[2] == 4:  # noqa: PLR2004 -- with alpha
        return color
    return np.dstack([color, np.full(color.shape[:2], np.iinfo(np.uint16).max, np.uint16)])
