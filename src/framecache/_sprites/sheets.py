"""Sheets of thumbnails, made from the stored frames on first request and then stored."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass
from typing import Final

import google_crc32c
import numpy as np

from framecache._core import keys
from framecache._core.cached_property import lock_free_cached_property
from framecache._core.numeric import as_index, format_value
from framecache._core.optional_imports import require_opencv
from framecache._index import FrameRow, ensure_current
from framecache._media import jpeg
from framecache._media.scaled_jpeg import decode_to_size
from framecache._read import FetchResult, FrameSource, fetch_in_order, prefetch_map
from framecache._sprites.sprite_map import (
    SpriteMap,
    SpriteSheet,
    build_sprite_map,
    fit_size,
    number_sheets,
)
from framecache.errors import (
    CorruptFrame,
    InvalidValue,
    StorePermissionDenied,
    StoreUnavailable,
    TimelineCleared,
)
from framecache.model import Image
from framecache.store import BlobExists, BlobMissing

_QUALITY: Final = 75
_GRAY: Final = 128


@dataclass(frozen=True, slots=True)
class RenderedSheet:
    """One sheet of thumbnails."""

    jpeg: bytes
    is_complete: bool
    """True if it shows every frame that has a picture, as committed in the index."""


class Sprites:
    """Sheets of thumbnails of a timeline, as of one snapshot. Safe to share between threads."""

    def __init__(
        self,
        source: FrameSource,
        timeline_id: str,
        read_context: Callable[[FrameSource], AbstractContextManager[None]],
        *,
        render_context: Callable[[], AbstractContextManager[None]] = nullcontext,
        decode_context: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Set the source of the frames; no request is made.

        Args:
            source: the frames.
            timeline_id: the timeline of the frames.
            read_context: a context entered while frames are read.
            render_context: a context entered while a sheet that is not stored is made; its errors
                propagate.
            decode_context: a context entered around the decoding of each frame, on several threads
                at once.
        """
        self._source = source
        self._timeline_id = timeline_id
        self._read_context = read_context
        self._render_context = render_context
        self._decode_context = decode_context

    def __repr__(self) -> str:
        return f"<Sprites of {self._timeline_id}, {len(self._source.snapshot.index)} frames>"

    @lock_free_cached_property
    def map(self) -> SpriteMap:
        """Location of the thumbnail of each frame.

        No request is made, except for another program's frames: one, for the size of the first.
        """
        index = self._source.snapshot.index
        width, height = self._picture_size()
        return build_sprite_map(index.chunk_id, width=width, height=height)

    def sheet(self, i: int) -> bytes:
        """Return sheet ``i`` of the map, a JPEG with ``columns`` tiles per row.

        It is made from the stored frames on first request, and then stored. If storing is denied,
        or another program stored the frames, it is made each time. A frame without a picture has a
        gray tile, and so has a damaged one until it is repaired.

        Raises:
            InvalidValue: the map has no such sheet.
            MissingPackage: the sheet is not stored yet, and OpenCV, which the extra ``extract``
                installs, is missing.
            TimelineCleared: the timeline was cleared since it was opened.
            StorePermissionDenied, StoreUnavailable: the store failed.
        """
        return self.found_or_made(i).jpeg

    def found_or_made(self, i: int) -> RenderedSheet:
        """Return sheet ``i`` with its completeness: see :meth:`sheet`, whose errors it raises."""
        i = self._check_index(i)
        stored = self._load_stored(i)
        if stored is not None and has_fingerprint(stored, self._fingerprint(i)):
            return RenderedSheet(stored, is_complete=True)
        return self._render(i, replaces=stored is not None)

    def make_all(self) -> int:
        """Make and store every sheet that is not stored yet; return how many were made.

        Raises the same errors as :meth:`sheet`.
        """
        made = 0
        for i in range(len(self.map.sheets)):
            stored = self._load_stored(i)
            if stored is None or not has_fingerprint(stored, self._fingerprint(i)):
                self._render(i, replaces=stored is not None)
                made += 1
        return made

    @lock_free_cached_property
    def _sheet_numbers(self) -> list[int]:
        return number_sheets(self.map.sheets)

    def _check_index(self, i: int) -> int:
        count, number = len(self.map.sheets), as_index(i)
        if number is None or not 0 <= number < count:
            raise InvalidValue(
                f"timeline {self._timeline_id} has {count} sheets of sprites, numbered from "
                f"0: there is no sheet {format_value(i)}"
            )
        return number

    def _key(self, i: int) -> str | None:
        """Return the key of a sheet; None if sheets of this timeline are not stored."""
        manifest = self._source.snapshot.manifest
        if manifest is None:
            return None
        return keys.sprite(
            self._timeline_id,
            epoch=manifest.epoch,
            chunk_id=self.map.sheets[i].chunk_id,
            number=self._sheet_numbers[i],
        )

    def _load_stored(self, i: int) -> bytes | None:
        key = self._key(i)
        try:
            return self._source.store.get(key) if key is not None else None
        except BlobMissing:
            return None

    def _fingerprint(self, i: int) -> str:
        tile = self.map.tile_width, self.map.tile_height
        return compute_fingerprint(self._rows(self.map.sheets[i]), tile, self.map.columns)

    def _rows(self, sheet: SpriteSheet) -> list[FrameRow]:
        return self._source.snapshot.index.rows(_positions(sheet))

    def _render(self, i: int, *, replaces: bool) -> RenderedSheet:
        require_opencv(needed_by="making sprites")
        sheet = self.map.sheets[i]
        with self._render_context():
            with self._read_context(self._source):
                pixels, is_whole = self._draw(sheet)
            data = add_fingerprint(jpeg.encode_rgb(pixels, quality=_QUALITY), self._fingerprint(i))
        key = self._key(i)
        if key is not None and is_whole:
            # A caller that may only read still gets the sheet.
            with suppress(StorePermissionDenied, StoreUnavailable):
                self._store(key, data, replaces=replaces)
        return RenderedSheet(data, is_complete=is_whole)

    def _store(self, key: str, data: bytes, *, replaces: bool) -> None:
        """Store a sheet, and delete it again if the epoch ended meanwhile."""
        store, manifest = self._source.store, self._source.snapshot.manifest
        assert manifest is not None
        with suppress(BlobExists):
            if replaces:
                store.put(key, data)
            else:
                store.create(key, data)
        try:
            ensure_current(store, manifest)
        except TimelineCleared:
            store.delete([key])

    def _draw(self, sheet: SpriteSheet) -> tuple[Image, bool]:
        """Return the pixels of a sheet and whether it is whole: see `RenderedSheet`."""
        width, height = self.map.sheet_size(sheet)
        pixels = np.full((height, width, 3), _GRAY, np.uint8)
        source = self._source.for_size(max(self.map.tile_width, self.map.tile_height))
        rows = source.snapshot.index.rows(_positions(sheet))
        places = [place for place, row in enumerate(rows) if row.status != "undecodable"]
        positions = sheet.first_position + np.array(places, np.int64)
        is_whole = True
        threads = len(os.sched_getaffinity(0))
        with closing(fetch_in_order(source, positions)) as fetched:
            tasks = ((rows[place], one) for place, one in zip(places, fetched, strict=True))
            with closing(
                prefetch_map(self._tile, tasks, threads=threads, ahead=4 * threads)
            ) as drawn:
                for place, (thumbnail, is_committed) in zip(places, drawn, strict=True):
                    is_whole = is_whole and is_committed
                    if thumbnail is not None:
                        self._paste(pixels, place, thumbnail)
        return pixels, is_whole

    def _tile(self, task: tuple[FrameRow, FetchResult]) -> tuple[Image | None, bool]:
        """Return a frame's thumbnail, and True if the picture is the one in the index.

        The thumbnail of a damaged frame is None. A frame that was repaired since the index was read
        may be another JPEG than the index says.
        """
        row, fetched = task
        if isinstance(fetched.outcome, CorruptFrame):
            return None, False
        if fetched.row.status == "undecodable":
            return None, True
        data = fetched.jpeg()
        try:
            with self._decode_context():
                thumbnail = _create_thumbnail(
                    data, fetched.row, within=(self.map.tile_width, self.map.tile_height)
                )
        except jpeg.InvalidJpeg:
            return None, False
        is_listed = self._source.snapshot.index.is_unindexed
        if is_listed or row.is_decoded_on_demand:
            return thumbnail, True
        return thumbnail, google_crc32c.value(data) == row.crc32c

    def _paste(self, pixels: Image, place: int, thumbnail: Image) -> None:
        left, top = self.map.tile(place)
        height, width = thumbnail.shape[:2]
        left += (self.map.tile_width - width) // 2
        top += (self.map.tile_height - height) // 2
        pixels[top : top + height, left : left + width] = thumbnail

    def _picture_size(self) -> tuple[int, int]:
        """Return width and height of the first picture of known size; zeros if there is none."""
        index = self._source.snapshot.index
        known = np.flatnonzero((index.width > 0) & index.is_ok)
        if len(known):
            return int(index.width[known[0]]), int(index.height[known[0]])
        if not index.is_unindexed or not len(index):
            return 0, 0
        with suppress(CorruptFrame, jpeg.InvalidJpeg):
            height, width = jpeg.size(self._source.fetch_jpeg(index.row(0)))
            return width, height
        return 0, 0


def _positions(sheet: SpriteSheet) -> Sequence[int]:
    return range(sheet.first_position, sheet.first_position + sheet.count)


def _create_thumbnail(data: bytes, row: FrameRow, *, within: tuple[int, int]) -> Image:
    """Return a frame, or its rendition, scaled to its tile.

    Raises:
        InvalidJpeg: it is not a valid JPEG.
    """
    width, height = row.width, row.height
    if not width:  # another program stored the frame
        height, width = jpeg.size(data)
    width, height = fit_size(width, height, within=within)
    return decode_to_size(data, width=width, height=height)


_JPEG_START: Final = b"\xff\xd8"
_JPEG_COMMENT: Final = b"\xff\xfe"
_FINGERPRINT_NAME: Final = b"framecache sprites 1 "


def compute_fingerprint(rows: Iterable[FrameRow], tile: tuple[int, int], columns: int) -> str:
    """Return a hash of the frames of a sheet: their sequences, statuses, lengths and CRCs."""
    digest = hashlib.sha256(f"{tile} {columns}".encode())
    for row in rows:
        known = row.pts if row.is_decoded_on_demand else row.crc32c
        digest.update(f"\n{row.sequence} {row.status} {row.size} {known}".encode())
    return digest.hexdigest()[:32]


def add_fingerprint(jpeg: bytes, fingerprint: str) -> bytes:
    """Return a JPEG with the fingerprint of what it shows, in a comment before the picture."""
    return _encode_header(jpeg[len(_JPEG_START) :], fingerprint) + jpeg[len(_JPEG_START) :]


def has_fingerprint(jpeg: bytes, fingerprint: str) -> bool:
    """Return True if a stored sheet is intact and shows the frames of a fingerprint."""
    length = len(_encode_header(b"", fingerprint))
    return jpeg[:length] == _encode_header(jpeg[length:], fingerprint)


def _encode_header(picture: bytes, fingerprint: str) -> bytes:
    text = _FINGERPRINT_NAME + f"{fingerprint} {google_crc32c.value(picture):08x}".encode()
    return _JPEG_START + _JPEG_COMMENT + (len(text) + 2).to_bytes(2, "big") + text
