"""Comparison of the overlays of two stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Final

import numpy as np

from framecache._core.threads import PerProcess
from framecache._overlays.conversion import MAX_BYTES, MAX_PIXELS
from framecache._overlays.listing import OverlayKey
from framecache._overlays.png import BadPng, read_header_size, validate_png
from framecache._read import prefetch_map
from framecache.store import BlobInfo, BlobMissing, Store

_CONCURRENT_PAIRS: Final = 16
_MAX_COMPARED_BYTES: Final = 256 * 2**20
"""Bytes of PNG that are compared at a time."""
_CONTENT_ETAG_SCHEMES: Final = ("s3://", "gs://")
"""URL schemes of stores where equal ETags imply equal bytes."""
_SCALE_8_TO_16: Final = 257
"""Factor that scales an 8-bit value to the 16-bit range."""


_decode_slots: Final = PerProcess(lambda: BoundedSemaphore(2))
"""Limit on picture pairs decoded at a time in this process, across all comparisons."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """One overlay as listed on both sides."""

    key: OverlayKey
    left: BlobInfo
    right: BlobInfo


def find_differences(
    left_store: Store,
    left: Mapping[OverlayKey, BlobInfo],
    right_store: Store,
    right: Mapping[OverlayKey, BlobInfo],
) -> dict[int, tuple[str, ...]]:
    """Return the overlays that differ, ``{sequence: names}``, ascending.

    Sizes and ETags of the listings are compared first, then bytes, then pixels.
    """
    differing: set[OverlayKey] = left.keys() ^ right.keys()
    pairs: list[_Pair] = []
    etags_tell = left_store.url == right_store.url and left_store.url.startswith(
        _CONTENT_ETAG_SCHEMES
    )
    for drawn in left.keys() & right.keys():
        pair = _Pair(drawn, left[drawn], right[drawn])
        if not (etags_tell and _has_equal_etags(pair)):
            pairs.append(pair)
    largest = max((max(pair.left.size_bytes, pair.right.size_bytes) for pair in pairs), default=1)
    threads = max(2, min(_CONCURRENT_PAIRS, _MAX_COMPARED_BYTES // (2 * max(1, largest))))
    results = prefetch_map(
        lambda pair: _is_different(left_store, right_store, pair),
        pairs,
        threads=threads,
        ahead=2 * threads,
    )
    differing |= {pair.key for pair, differs in zip(pairs, results, strict=True) if differs}
    names: dict[int, list[str]] = {}
    for sequence, name in sorted(differing):
        names.setdefault(sequence, []).append(name)
    return {sequence: tuple(found) for sequence, found in names.items()}


def _has_equal_etags(pair: _Pair) -> bool:
    is_known = bool(pair.left.etag)
    return is_known and (pair.left.size_bytes, pair.left.etag) == (
        pair.right.size_bytes,
        pair.right.etag,
    )


def _is_different(left_store: Store, right_store: Store, pair: _Pair) -> bool:
    # framecache did not store these, and reading them could take any amount of memory.
    if max(pair.left.size_bytes, pair.right.size_bytes) > MAX_BYTES:
        return True
    try:
        one, other = left_store.get(pair.left.key), right_store.get(pair.right.key)
    except BlobMissing:
        return True  # removed since it was listed
    return one != other and not _has_equal_pixels(one, other)


def _has_equal_pixels(left: bytes, right: bytes) -> bool:
    """Return True if two files are PNGs of the same pixels."""
    try:
        width, height = read_header_size(left)
        if read_header_size(right) != (width, height) or width * height > MAX_PIXELS:
            return False
        validate_png(left)
        validate_png(right)
    except BadPng:
        return False
    with _decode_slots.value:
        pixels, others = _decode(left), _decode(right)
        if pixels is None or others is None:
            return False
        if pixels.shape == others.shape and pixels.dtype == others.dtype:
            return np.array_equal(pixels, others)
        return np.array_equal(_to_rgba16(pixels), _to_rgba16(others))


def _decode(png: bytes) -> np.ndarray | None:
    import cv2  # noqa: PLC0415 -- installed by an extra

    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


def _to_rgba16(pixels: np.ndarray) -> np.ndarray:
    """Convert gray or color of 8 or 16 bits, with or without alpha, to 16-bit color with alpha."""
    deep = (
        pixels
        if pixels.dtype == np.uint16
        else pixels.astype(np.uint16) * np.uint16(_SCALE_8_TO_16)
    )
    color = deep[:, :, None] if deep.ndim == 2 else deep  # noqa: PLR2004 -- gray
    color = np.repeat(color, 3, axis=2) if color.shape[2] == 1 else color
    if color.shape[2] == 4:  # noqa: PLR2004 -- with alpha
        return color
    return np.dstack([color, np.full(color.shape[:2], np.iinfo(np.uint16).max, np.uint16)])
