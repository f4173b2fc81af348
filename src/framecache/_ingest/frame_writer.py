"""Storage of frames from memory, without losing a frame that another program committed.

If the layout has public keys, a frame whose sequence is free is created under its own, which only
one program can do. Every other frame goes to the layout's private storage, which no other program
touches, and its row replaces the previous one; `relocation` moves the frame to its
public key later.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Self

from framecache._core import keys
from framecache._core.manifest import Manifest
from framecache._index import FrameRow, Index, current_manifest
from framecache._ingest.frame_encoding import JpegFrame, check_jpeg, encode_frame
from framecache._layouts import FrameStorage, layout_of
from framecache._layouts.encoding import EncodedJpeg, FramePosition, build_row, identity
from framecache._read.frame_source import read_stored_jpeg
from framecache.errors import InvalidValue, SettingsConflict, StoreUnavailable
from framecache.model import Frame, JpegSettings, OnConflict
from framecache.store import BlobExists, BlobMissing, Store


@dataclass(frozen=True, slots=True, eq=False)
class _Created:
    """Frame that was created under its public key."""

    row: FrameRow
    position: FramePosition
    encoded: EncodedJpeg


_Decision = _Created | tuple[FramePosition, EncodedJpeg] | None
"""Frame stored under its public key, a frame for private storage, or None: no commit."""


@dataclass(slots=True, eq=False)
class WriteResult:
    """Result of storing the frames of one call."""

    rows: dict[int, FrameRow] = field(default_factory=dict)
    """Rows to commit, by sequence."""
    added: set[int] = field(default_factory=set)
    """Sequences that were not cached before."""
    changed_pictures: set[int] = field(default_factory=set)
    """Sequences that were cached with a different picture."""
    repaired: set[int] = field(default_factory=set)
    """Sequences whose committed picture was lost or damaged, and was stored again."""
    kept: set[int] = field(default_factory=set)
    """Sequences left as cached, without a comparison with the given frame."""
    requested: set[int] = field(default_factory=set)
    """All sequences that the caller gave."""

    @property
    def replaced(self) -> set[int]:
        """Sequences that were cached with a different picture or different metadata."""
        return self.rows.keys() - self.added - self.repaired

    def keep_cached(self, sequences: Collection[int]) -> None:
        """Keep the frames that another program cached in the meantime instead of these."""
        for sequence in sequences:
            del self.rows[sequence]
        self.kept.update(sequences)


class FrameWriter:
    """Storage of the frames of one call; a context manager that waits until they are stored."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        cached: Index,
        *,
        jpeg: JpegSettings,
        on_conflict: OnConflict,
        workers: int,
    ) -> None:
        """Initialize without storing anything.

        Args:
            store: the store of the timeline.
            manifest: the manifest of the timeline.
            cached: the index of the frames that are cached.
            jpeg: the encoder settings.
            on_conflict: the handling of a given frame that differs from the cached one.
            workers: the number of encoder threads.
        """
        self._store = store
        self._manifest = manifest
        self._cached = cached
        self._jpeg = replace(jpeg, renditions=manifest.settings.jpeg.renditions)
        self._on_conflict = on_conflict
        self._layout = layout_of(manifest)
        self._encoders = self._layout.create_encoders(store, workers=workers)
        self._private = self._layout.create_private_storage(store, manifest, self._encoders)
        self._renditions = self._layout.create_rendition_storage(
            store, manifest, keys.WRITTEN, self._encoders
        )
        """Renditions of frames that are created under their public keys."""
        self._contexts = ExitStack()
        self._decisions: deque[Future[_Decision]] = deque()
        self._result = WriteResult()
        self._qualities: dict[int, int] = {}
        """Quality of each frame in private storage."""
        self._created_keys: list[str] = []

    def __enter__(self) -> Self:
        # They are left in reverse: the storages wait for frames that the encoders produce.
        for context in (self._encoders, self._private, self._renditions):
            self._contexts.enter_context(context)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._contexts.__exit__(kind, error, traceback)

    def add(self, frame: Frame | JpegFrame) -> None:
        """Store a frame unless it is cached already; a later frame of a sequence replaces it.

        Raises:
            SettingsConflict: a different frame is cached, and ``on_conflict`` is ``"raise"``.
            InvalidValue: its image or JPEG is invalid, or its sequence was given before and
                ``on_conflict`` is not ``"replace"``.
        """
        sequence = frame.sequence
        is_repeated = sequence in self._result.requested
        if is_repeated and self._on_conflict != "replace":
            raise InvalidValue(
                f"sequence {sequence} was given twice in one call: give each frame its own sequence"
            )
        self._result.requested.add(sequence)
        position = self._cached.position(sequence)
        if position is not None and self._on_conflict == "keep":
            self._result.kept.add(sequence)
            return
        frame_position, encode = (
            _frame_position(frame),
            partial(_encode, frame, self._jpeg, self._manifest.settings.jpeg.quality),
        )
        quality = frame.quality if isinstance(frame, JpegFrame) else self._jpeg.quality
        self._qualities[sequence] = quality
        if is_repeated:
            self._process_decisions()
        if position is None:
            self._result.added.add(sequence)
        if is_repeated or (position is None and not self._layout.has_public_keys):
            self._private.add(frame_position, encode)
            return
        decide: Callable[[EncodedJpeg], _Decision]
        if position is None:
            decide = partial(self._create, frame_position, quality)
        else:
            decide = partial(self._compare, frame, frame_position, self._cached.row(position))
        self._decisions.append(self._encoders.submit(encode, decide))
        while self._decisions and self._decisions[0].done():
            self._process_decision()

    def finish(self) -> WriteResult:
        """Wait until the store has acknowledged all frames, and return the result."""
        self._process_decisions()
        placed = self._result
        for sequence, renditions in self._renditions.finish().items():
            placed.rows[sequence] = replace(placed.rows[sequence], renditions=renditions)
        stored = {row.sequence: row for row in self._private.finish()}
        placed.rows |= {
            sequence: self._committed_row(replace(row, quality=self._qualities[sequence]))
            for sequence, row in stored.items()
        }
        return placed

    @property
    def has_created(self) -> bool:
        """True if a frame was created under its public key."""
        return bool(self._created_keys)

    def discard(self) -> None:
        """Delete the frames in private storage, because they will not be committed."""
        self._private.discard()
        self._renditions.discard()

    def cleanup_if_deleted(self) -> None:
        """Delete the frames in private storage; if the timeline was deleted, also the public ones.

        Otherwise those frames would look like a timeline that another program wrote.
        """
        self.discard()
        timeline_id = self._manifest.timeline_id
        if self._created_keys and current_manifest(self._store, timeline_id) is None:
            self._store.delete(self._created_keys)

    def _create(
        self, frame_position: FramePosition, quality: int, encoded: EncodedJpeg
    ) -> _Created | tuple[FramePosition, EncodedJpeg]:
        """Create a frame under its public key, unless that holds another.

        If the key holds something else, return the frame, for the private storage.
        """
        key = keys.frame(self._manifest.timeline_id, frame_position.sequence)
        try:
            self._store.create(key, encoded.data)
            self._created_keys.append(key)
        except BlobExists:
            # A leftover of an interrupted write, or another program is writing the frame now.
            if not _is_stored(self._store, key, encoded.data):
                return frame_position, encoded
        row = replace(build_row(frame_position, encoded, key=key, offset=0), quality=quality)
        return _Created(row, frame_position, encoded)

    def _compare(
        self,
        frame: Frame | JpegFrame,
        frame_position: FramePosition,
        row: FrameRow,
        encoded: EncodedJpeg,
    ) -> tuple[FramePosition, EncodedJpeg] | None:
        """Return the frame to store instead of the cached one; None if that is equal and intact."""
        difference = _find_difference(frame, row, encoded, self._jpeg)
        if difference and self._on_conflict == "raise":
            raise frame_conflict(row.sequence, self._manifest, difference)
        if not difference and _is_intact(self._store, row, encoded.data):
            return None
        return frame_position, encoded

    def _process_decisions(self) -> None:
        while self._decisions:
            self._process_decision()

    def _process_decision(self) -> None:
        decided = self._decisions.popleft().result()
        if isinstance(decided, _Created):
            self._result.rows[decided.row.sequence] = decided.row
            if decided.encoded.renditions:
                self._renditions.add(decided.position, partial(identity, decided.encoded))
        elif decided is not None:
            frame_position, encoded = decided
            self._private.add(frame_position, partial(identity, encoded))

    def _committed_row(self, row: FrameRow) -> FrameRow:
        """Return the row to commit for a frame in private storage, given the row cached before."""
        position = self._cached.position(row.sequence)
        if position is None:
            return row
        before = self._cached.row(position)
        is_same_picture = (before.size, before.crc32c) == (row.size, row.crc32c)
        if not is_same_picture:
            self._result.changed_pictures.add(row.sequence)
            return row
        if _given_metadata(before) == _given_metadata(row):
            self._result.repaired.add(row.sequence)
            return replace(before, key=row.key, offset=row.offset, renditions=row.renditions)
        return replace(row, picture_since=before.picture_since)


def copy_to_private_storage(
    store: Store, manifest: Manifest, rows: Iterable[FrameRow], *, workers: int
) -> tuple[Mapping[int, FrameRow], FrameStorage]:
    """Copy frames that this program created under public keys to private storage.

    Raises:
        StoreUnavailable: another program has replaced a frame under its public key.
    """
    layout = layout_of(manifest)
    with (
        layout.create_encoders(store, workers=workers) as encoders,
        layout.create_private_storage(store, manifest, encoders) as storage,
    ):
        for row in rows:
            frame_position = FramePosition(
                row.sequence, row.chunk_id, row.pts, row.timestamp, row.duration
            )
            storage.add(frame_position, partial(_read_created, store, row))
        stored = {row.sequence: row for row in storage.finish()}
    return stored, storage


def frame_conflict(sequence: int, manifest: Manifest, difference: str) -> SettingsConflict:
    """Return the error for a given frame that differs from the cached one."""
    return SettingsConflict(
        f"frame {sequence} of timeline {manifest.timeline_id} is cached with another "
        f'{difference}: write it with on_conflict="replace", clear the timeline first, or use '
        f"another sequence"
    )


def find_row_difference(row: FrameRow, other: FrameRow) -> str:
    """Return the name of the first difference between two rows of a sequence, or ``""``."""
    if (row.size, row.crc32c) != (other.size, other.crc32c):
        return "picture"
    for name in ("chunk_id", "timestamp", "perceptual_hash"):
        if getattr(row, name) != getattr(other, name):
            return name
    return ""


def _read_created(store: Store, row: FrameRow) -> EncodedJpeg:
    encoded = EncodedJpeg(b"", row.width, row.height, row.crc32c, row.perceptual_hash)
    try:
        data = store.get(row.key)
    except BlobMissing:
        data = b""
    if not encoded.is_same_jpeg(data):
        raise StoreUnavailable(
            f"another program stored a different picture as {row.key} in {store.display_name} "
            "during this write: write the frames again"
        )
    return replace(encoded, data=data)


def _find_difference(
    frame: Frame | JpegFrame, row: FrameRow, encoded: EncodedJpeg, jpeg: JpegSettings
) -> str:
    """Return the first difference between a given frame and the cached one, or ``""``."""
    if isinstance(frame, Frame) and row.quality not in (0, jpeg.quality):
        return f"quality ({row.quality}; asked for {jpeg.quality})"
    if (len(encoded.data), encoded.crc32c) != (row.size, row.crc32c):
        return "picture"
    told = {
        "timestamp": (row.timestamp, frame.timestamp),
        "chunk_id": (row.chunk_id, frame.chunk_id),
        "perceptual_hash": (row.perceptual_hash, encoded.perceptual_hash),
    }
    for name, (cached, given) in told.items():
        if cached != given:
            return f"{name} ({cached!r}; given {given!r})"
    return ""


def _is_stored(store: Store, key: str, data: bytes) -> bool:
    try:
        return store.get(key) == data
    except BlobMissing:
        return False  # deleted in the meantime


def _is_intact(store: Store, row: FrameRow, data: bytes) -> bool:
    """Return True if the stored bytes of a committed frame still equal ``data``."""
    try:
        return read_stored_jpeg(store, row) == data
    except BlobMissing:
        return False


def _given_metadata(row: FrameRow) -> tuple[object, ...]:
    """Return the metadata that a program gives with a picture."""
    return row.timestamp, row.chunk_id, row.perceptual_hash


def _encode(frame: Frame | JpegFrame, settings: JpegSettings, quality: int) -> EncodedJpeg:
    if isinstance(frame, JpegFrame):
        return check_jpeg(frame, replace(settings, quality=frame.quality or quality))
    try:
        return encode_frame(frame, settings)
    except InvalidValue as error:
        raise InvalidValue(f"frame {frame.sequence}: {error}") from error


def _frame_position(frame: Frame | JpegFrame) -> FramePosition:
    duration = frame.duration if isinstance(frame, JpegFrame) else 0.0
    return FramePosition(frame.sequence, frame.chunk_id, 0, frame.timestamp, duration)
