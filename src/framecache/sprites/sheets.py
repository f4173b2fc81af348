"""Sheets made from the stored frames when they are first asked for, and kept beside them."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import google_crc32c
import numpy as np

from framecache import jpeg, keys
from framecache.errors import Cleared, CorruptFrame, InvalidValue, StoreDenied, StoreUnavailable
from framecache.index import FrameRow, ensure_current
from framecache.model import Image
from framecache.numeric import as_index, shown
from framecache.reader import Fetched, FrameSource, ordered, read_fetched
from framecache.sprites.layout import SpriteMap, SpriteSheet, fitted, lay_out, numbers
from framecache.sprites.stamp import fingerprint, is_stamped, stamped
from framecache.store import BlobExists, BlobMissing

_QUALITY: Final = 75
_GRAY: Final = 128


@dataclass(frozen=True, slots=True)
class Sheet:
    """One sheet of thumbnails."""

    jpeg: bytes
    is_whole: bool
    """Whether each frame that has a picture is on it, as the index knows it."""


class Sprites:
    """Sheets of thumbnails of a timeline as it was at one moment. Safe to share between threads."""

    def __init__(
        self,
        source: FrameSource,
        timeline_id: str,
        reading: Callable[[FrameSource], AbstractContextManager[None]],
        *,
        making: Callable[[], AbstractContextManager[None]] = nullcontext,
        decoding: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Name the frames; no request is made.

        Args:
            source: the frames.
            timeline_id: whose they are.
            reading: entered while frames are read.
            making: entered while a sheet is made that is not stored; what it raises is raised.
            decoding: entered around each frame that is decoded, on several threads at once.
        """
        self._source = source
        self._timeline_id = timeline_id
        self._reading = reading
        self._making = making
        self._decoding = decoding

    def __repr__(self) -> str:
        return f"<Sprites of {self._timeline_id}, {len(self._source.snapshot.index)} frames>"

    @cached_property
    def map(self) -> SpriteMap:
        """Where the thumbnail of each frame lies.

        No request is made, except of another program's frames: one, for the size of the first.
        """
        index = self._source.snapshot.index
        width, height = self._picture_size()
        return lay_out(index.chunk_id, width=width, height=height)

    def sheet(self, i: int) -> bytes:
        """Sheet ``i`` of the map, a JPEG of ``columns`` tiles a row.

        It is made of the stored frames when it is first asked for, and then stored; where that is
        denied, or another program stored the frames, it is made each time. A frame without a
        picture has a gray tile, and so has one that is damaged, until it is repaired.

        Raises:
            InvalidValue: the map has no such sheet.
            Cleared: the timeline was cleared since it was opened.
            StoreDenied, StoreUnavailable: the store's.
        """
        return self.found_or_made(i).jpeg

    def found_or_made(self, i: int) -> Sheet:
        """Sheet ``i``, and whether it is whole: see :meth:`sheet`, whose errors it raises."""
        i = self._checked(i)
        stored = self._stored(i)
        if stored is not None and is_stamped(stored, self._fingerprint(i)):
            return Sheet(stored, is_whole=True)
        return self._made(i, replaces=stored is not None)

    def make_all(self) -> int:
        """Make and store every sheet that is not there yet; returns how many were made.

        Raises what :meth:`sheet` raises.
        """
        made = 0
        for i in range(len(self.map.sheets)):
            stored = self._stored(i)
            if stored is None or not is_stamped(stored, self._fingerprint(i)):
                self._made(i, replaces=stored is not None)
                made += 1
        return made

    @cached_property
    def _numbers(self) -> list[int]:
        return numbers(self.map.sheets)

    def _checked(self, i: int) -> int:
        count, number = len(self.map.sheets), as_index(i)
        if number is None or not 0 <= number < count:
            raise InvalidValue(
                f"timeline {self._timeline_id} has {count} sheets of sprites, numbered from 0: "
                f"there is no {shown(i)}"
            )
        return number

    def _key(self, i: int) -> str | None:
        """Where a sheet lies; None where none may lie."""
        description = self._source.snapshot.description
        if description is None:
            return None
        return keys.sprite(
            self._timeline_id,
            epoch=description.epoch,
            chunk_id=self.map.sheets[i].chunk_id,
            number=self._numbers[i],
        )

    def _stored(self, i: int) -> bytes | None:
        key = self._key(i)
        try:
            return self._source.store.get(key) if key is not None else None
        except BlobMissing:
            return None

    def _fingerprint(self, i: int) -> str:
        tile = self.map.tile_width, self.map.tile_height
        return fingerprint(self._rows(self.map.sheets[i]), tile, self.map.columns)

    def _rows(self, sheet: SpriteSheet) -> list[FrameRow]:
        return self._source.snapshot.index.rows(_positions(sheet))

    def _made(self, i: int, *, replaces: bool) -> Sheet:
        sheet = self.map.sheets[i]
        with self._making():
            with self._reading(self._source):
                pixels, is_whole = self._drawn(sheet)
            data = stamped(jpeg.encode_rgb(pixels, quality=_QUALITY), self._fingerprint(i))
        key = self._key(i)
        if key is not None and is_whole:
            # Whoever may only read gets the sheet all the same.
            with suppress(StoreDenied, StoreUnavailable):
                self._store(key, data, replaces=replaces)
        return Sheet(data, is_whole=is_whole)

    def _store(self, key: str, data: bytes, *, replaces: bool) -> None:
        """Store a sheet, unless the epoch ended meanwhile: then it would be in nobody's way."""
        store, description = self._source.store, self._source.snapshot.description
        assert description is not None
        with suppress(BlobExists):
            if replaces:
                store.put(key, data)
            else:
                store.create(key, data)
        try:
            ensure_current(store, description)
        except Cleared:
            store.delete([key])

    def _drawn(self, sheet: SpriteSheet) -> tuple[Image, bool]:
        """A sheet's pixels, and whether it is whole: see `Sheet`."""
        width, height = self.map.sheet_size(sheet)
        pixels = np.full((height, width, 3), _GRAY, np.uint8)
        rows = self._rows(sheet)
        places = [place for place, row in enumerate(rows) if row.status == "ok"]
        positions = sheet.first_position + np.array(places, np.int64)
        is_whole = True
        threads = len(os.sched_getaffinity(0))
        with closing(read_fetched(self._source, positions)) as fetched:
            tasks = ((rows[place], one) for place, one in zip(places, fetched, strict=True))
            with closing(ordered(self._tile, tasks, threads=threads, ahead=4 * threads)) as drawn:
                for place, (thumbnail, is_committed) in zip(places, drawn, strict=True):
                    is_whole = is_whole and is_committed
                    if thumbnail is not None:
                        self._put(pixels, place, thumbnail)
        return pixels, is_whole

    def _tile(self, task: tuple[FrameRow, Fetched]) -> tuple[Image | None, bool]:
        """A frame's thumbnail, None of a damaged one; and whether the index knows that picture.

        A frame that was repaired since the index was read may be another JPEG than it says.
        """
        row, fetched = task
        if isinstance(fetched.outcome, CorruptFrame):
            return None, False
        data = fetched.jpeg()
        try:
            with self._decoding():
                thumbnail = _thumbnail(data, within=(self.map.tile_width, self.map.tile_height))
        except jpeg.BadJpeg:
            return None, False
        is_listed = self._source.snapshot.index.is_listed
        return thumbnail, is_listed or google_crc32c.value(data) == row.crc32c

    def _put(self, pixels: Image, place: int, thumbnail: Image) -> None:
        left, top = self.map.tile(place)
        height, width = thumbnail.shape[:2]
        left += (self.map.tile_width - width) // 2
        top += (self.map.tile_height - height) // 2
        pixels[top : top + height, left : left + width] = thumbnail

    def _picture_size(self) -> tuple[int, int]:
        """Width and height of the first picture whose size is known."""
        index = self._source.snapshot.index
        known = np.flatnonzero((index.width > 0) & index.is_ok)
        if len(known):
            return int(index.width[known[0]]), int(index.height[known[0]])
        if not index.is_listed or not len(index):
            return 0, 0
        with suppress(CorruptFrame, jpeg.BadJpeg):
            height, width = jpeg.size(self._source.jpeg(index.row(0)))
            return width, height
        return 0, 0


def _positions(sheet: SpriteSheet) -> Sequence[int]:
    return range(sheet.first_position, sheet.first_position + sheet.count)


def _thumbnail(data: bytes, *, within: tuple[int, int]) -> Image:
    """A frame as large as its tile, decoded no larger than that takes.

    Raises:
        BadJpeg: it is no sound JPEG.
    """
    import cv2  # noqa: PLC0415 -- a tenth of a second that reading frames need not take

    height, width = jpeg.size(data)
    size = fitted(width, height, within=within)
    scale = min(
        scale
        for scale in jpeg.SCALES
        if scale == 1 or (width * scale >= size[0] and height * scale >= size[1])
    )
    image = jpeg.decode(data, scale=scale)
    if (image.shape[1], image.shape[0]) == size:
        return image
    is_smaller = image.shape[0] >= size[1]
    return np.asarray(
        cv2.resize(image, size, interpolation=cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR),
        np.uint8,
    )
