"""A store that several programs use, a log of its changes, and faults of its requests.

The state of a timeline is read from its blobs by json and pyarrow, not by framecache.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from io import BytesIO
from typing import Any, Final, NamedTuple
from uuid import uuid4

import google_crc32c
import pyarrow.parquet as pq
from model_expected import (
    METADATA,
    PICTURES,
    RENDITION,
    Row,
    Rows,
    is_rendition_of,
    rows_of,
    rows_of_segment,
    written_row,
)
from model_plain import ALL, LYING, NO_METADATA, SEGMENTS, Setting, State, Written, segments_of

from framecache import FrameCache
from framecache.store import Store
from framecache.testing import Action, Crash, Fault, FaultyStore, SideEffect, WrappingStore
from tars import members_of

ROOT: Final = "cache/timelines"
DECAY: Final = "decay"
"""Name of the program that damages what is stored."""
OF_EPOCHS: Final = ("claims", "index", "packs", "renditions")
"""The folders that have one for each epoch."""
DAMAGE: Final = frozenset({Fault.TRUNCATE, Fault.FLIP_BIT})


@dataclass(frozen=True, slots=True)
class StoreChange:
    """A change that reached the store."""

    who: str
    action: Action
    key: str


class Place(NamedTuple):
    """Key of the JPEG of a frame."""

    key: str
    offset: int
    """In a pack; 0: the blob is the JPEG."""
    size_bytes: int

    def within(self, blobs: Mapping[str, bytes]) -> bytes | None:
        """Return the stored bytes; None when there is no such blob."""
        blob = blobs.get(self.key)
        if blob is None or not self.offset:
            return blob
        return blob[self.offset : self.offset + self.size_bytes]


@dataclass(frozen=True, slots=True)
class ObservedTimeline:
    """State of a timeline according to its blobs."""

    state: State
    places: Mapping[int, Place] = field(default_factory=dict)
    """Place of each committed frame that is stored, as the index has it."""
    damaged_frames: frozenset[int] = frozenset()
    """Committed frames that are not where the index has them."""

    @property
    def rows(self) -> Rows:
        return rows_of(self.state)


class World:
    """A memory store, a copy of all its blobs, and a log of what changed them."""

    def __init__(self) -> None:
        self.store: Final = FrameCache(f"memory://{uuid4().hex}").store
        self.blobs: dict[str, bytes] = {}
        self.log: list[StoreChange] = []
        self.violations: list[str] = []
        self.lock: Final = threading.RLock()
        self.packs_stored = 0
        self.is_guarded = False
        """True if no program may touch what a manifest names, because programs only write."""
        self.commits = 0
        """Parts that were committed in the epoch that was current."""
        self._committed: set[str] = set()
        self._pack_keys: set[str] = set()
        self._named: set[Place] = set()

    def used_by(self, who: str) -> "Recorded":
        """Return the store for a program, whose changes are logged under its name."""
        return Recorded(self, who)

    def changed(self, who: str, action: Action, key: str, data: bytes | None) -> None:
        """Log a change of the store."""
        self.log.append(StoreChange(who, action, key))
        is_guarded = self.is_guarded and who != DECAY and key.split("/")[3] in ("frames", "packs")
        if is_guarded and key in self.blobs:
            self._change_guarded(key, data)
        if data is None:
            self.blobs.pop(key, None)
            if not self._is_part_named(key):
                self._committed.discard(key)  # its name is free again
            return
        self.blobs[key] = data
        _, _, _, folder, *rest = [*key.split("/"), ""]
        if folder == "index" and not rest[1].startswith("_timeline-"):
            self._check_commit(key, rest[0], rest[1])
        if folder == "packs" and who != DECAY:
            self._check_pack(key, data)

    def _change_guarded(self, key: str, data: bytes | None) -> None:
        """Change a blob, and require that the current manifest does not refer to it."""
        stored, timeline_id = self.blobs[key], key.split("/")[2]
        before = self._observe(timeline_id).damaged_frames
        self.blobs[key] = data or b""
        harmed = self._observe(timeline_id).damaged_frames - before
        self.blobs[key] = stored
        self._require(not harmed, f"frames {sorted(harmed)} are named in {key}, and were harmed")

    def observe(self, timeline_id: str) -> ObservedTimeline:
        """Return the state of a timeline at this moment."""
        with self.lock:
            return self._observe(timeline_id)

    def renditions(self, timeline_id: str) -> dict[int, bytes | None]:
        """Return the stored rendition of each current frame that has one; None if it is gone."""
        with self.lock:
            return {
                sequence: row.rendition.within(self.blobs)
                for sequence, row in self._current_rows(timeline_id).items()
                if row.rendition is not None
            }

    def faulty_renditions(self, timeline_id: str) -> list[int]:
        """Return the frames whose renditions are not stored, or show something else."""
        rows = self.observe(timeline_id).rows
        return [
            sequence
            for sequence, stored in self.renditions(timeline_id).items()
            if stored is None or not is_rendition_of(stored, rows[sequence].jpeg)
        ]

    def _current_rows(self, timeline_id: str) -> "IndexRows":
        """Return the row of each frame, of the part that the manifest names last."""
        document = self._manifest_document(timeline_id)
        if document is None:
            return {}
        parts = (self._part(timeline_id, document, part) for part in _part_names(document))
        return {sequence: row for part in parts for sequence, row in (part or {}).items()}

    def touched_frames(self, timeline_id: str, *, since: int, by: str) -> set[int]:
        """Return the frames that a program stored or deleted since a position in the log."""
        folder = f"{ROOT}/{timeline_id}/frames/"
        return {
            _sequence(landed.key)
            for landed in self.log[since:]
            if landed.who == by and landed.key.startswith(folder)
        }

    def keys(self, timeline_id: str, folder: str = "") -> list[str]:
        """The blobs of a timeline, or those in a folder of it."""
        prefix = f"{ROOT}/{timeline_id}/{folder}"
        return [key for key in self.blobs if key.startswith(prefix)]

    def frames(self, timeline_id: str) -> dict[int, bytes]:
        """Return the stored JPEGs, of any program, by sequence."""
        return {_sequence(key): self.blobs[key] for key in self.keys(timeline_id, "frames/")}

    def left_of_earlier_epochs(self, timeline_id: str) -> list[str]:
        """Return the blobs that the end of an epoch has to remove."""
        document = self._manifest_document(timeline_id)
        if document is None:
            return []
        current = _number(document["epoch"])
        prefixes = [f"{ROOT}/{timeline_id}/{folder}/" for folder in OF_EPOCHS]
        return [
            key
            for prefix in prefixes
            for key in self.blobs
            if key.startswith(prefix) and _number(key.removeprefix(prefix)) < current
        ]

    def _observe(self, timeline_id: str) -> ObservedTimeline:
        document = self._manifest_document(timeline_id)
        if document is None:
            listed = self.frames(timeline_id)
            pictures = {
                sequence: _picture(_fingerprint(jpeg), ALL.quality)
                for sequence, jpeg in listed.items()
            }
            return ObservedTimeline(
                State(listed=frozenset(listed.items()), listed_pictures=frozenset(pictures.items()))
            )
        state, places = self._state(timeline_id, document)
        damaged_frames = [
            sequence
            for sequence, row in rows_of(state).items()
            if sequence in places and places[sequence].within(self.blobs) != row.jpeg
        ]
        return ObservedTimeline(state, places, frozenset(damaged_frames))

    def _manifest_document(self, timeline_id: str) -> dict[str, Any] | None:
        versions = self.keys(timeline_id, "timeline/")
        return _parsed(self.blobs[max(versions)]) if versions else None

    def _state(self, timeline_id: str, document: dict[str, Any]) -> tuple[State, dict[int, Place]]:
        epoch = document["epoch"]
        chunks = tuple(_chunk_name(chunk["url"]) for chunk in document["chunks"])
        setting = Setting(document["sampling"].get("n"), document["jpeg"]["quality"])
        tables = frozenset(
            name
            for name, chunk in zip(chunks, document["chunks"], strict=True)
            if chunk["listed_from"] == "tables"
        )
        parts = {part: self._part(timeline_id, document, part) for part in _part_names(document)}
        is_unstored = document["layout"] == "video"
        cached = frozenset[str]()
        for part, segments in _segments_of_parts(document).items():
            rows = parts[part]
            if rows is None:
                continue
            cached |= segments
            expected = {
                row.sequence: row
                for segment in segments
                for row in rows_of_segment(chunks, setting, segment, tables & LYING)
            }
            self._require(
                rows.keys() == expected.keys()
                and all(
                    _is_row_of(row, expected[sequence], is_unstored=is_unstored)
                    for sequence, row in rows.items()
                ),
                f"{part} in {epoch} is not what {chunks} give with {setting}",
            )
        written = {
            sequence: _written(sequence, row)
            for part in document["written_parts"]
            for sequence, row in (parts[part] or {}).items()
        }
        self._check_compaction(timeline_id, document, parts)
        places = {
            sequence: row.place
            for part in _part_names(document)
            for sequence, row in (parts[part] or {}).items()
            if row.fingerprint is not None
        }
        state = State(
            epoch,
            chunks,
            setting,
            document["layout"],
            cached,
            frozenset(written.values()),
            begun=document["begun"],
            whole=frozenset(
                name
                for name, chunk in zip(chunks, document["chunks"], strict=True)
                if len(chunk["segment_starts"]) == 1
            ),
            tables=tables,
        )
        return state, places

    def _part(self, timeline_id: str, document: dict[str, Any], part: str) -> "IndexRows | None":
        generation = document["generations"].get(part, 0)
        key = f"{ROOT}/{timeline_id}/index/{document['epoch']}/{part}-{generation}.parquet"
        body = self.blobs.get(key)
        return None if body is None else _rows_in(body)

    def _is_part_named(self, key: str) -> bool:
        """Return True if a blob is an index part that the current manifest names."""
        document = self._manifest_document(key.split("/")[2])
        if document is None:
            return False
        parts = _part_names(document)
        names = {f"{part}-{document['generations'].get(part, 0)}.parquet" for part in parts}
        return key.split("/")[3] == "index" and key.split("/")[5] in names

    def _check_compaction(
        self,
        timeline_id: str,
        document: dict[str, Any],
        parts: "Mapping[str, IndexRows | None]",
    ) -> None:
        compaction = document["compaction"]
        if compaction is None:
            return
        name = f"_timeline-{compaction['number']}.compacted"
        body = self.blobs.get(f"{ROOT}/{timeline_id}/index/{document['epoch']}/{name}")
        covered = set(compaction["parts"])
        # For two rows of a sequence, the part that a manifest named later counts.
        there = [parts[part] for part in _part_names(document) if part in covered]
        if body is None or None in there:
            return
        rows = {sequence: row for part in there if part for sequence, row in part.items()}
        self._require(_rows_in(body) == rows, f"{name} is not the sum of {sorted(covered)}")

    def _check_commit(self, key: str, epoch: str, name: str) -> None:
        """Check a commit: the part is new, and its frames are stored."""
        timeline_id = key.split("/")[2]
        document = self._manifest_document(timeline_id)
        if document is None or document["epoch"] != epoch:
            return  # its program was delayed: the part is ignored
        self._require(
            document["begun"] or name.startswith("w"), f"{key} was committed before it was begun"
        )
        self.commits += 1
        self._require(key not in self._committed, f"{key} was committed twice")
        self._committed.add(key)
        for sequence, row in _rows_in(self.blobs[key]).items():
            if name.startswith("w") and not row.place.offset:
                continue  # it counts once a manifest names it
            if row.fingerprint is None:
                continue  # it is not stored
            if row.place in self._named:
                continue  # it may have been damaged since
            self._named.add(row.place)
            stored = row.place.within(self.blobs)
            self._require(
                stored is not None and _fingerprint(stored) == row.fingerprint,
                f"{key} was committed before its frame {sequence}",
            )

    def _check_pack(self, key: str, data: bytes) -> None:
        """Require that the key of a pack is new, and that it is a tar of JPEGs and metadata."""
        self.packs_stored += 1
        self._require(key not in self._pack_keys, f"{key} was stored twice")
        self._pack_keys.add(key)
        members = members_of(data)
        names = [name.removesuffix(".jpg") for name in members if name.endswith(".jpg")]
        self._require(
            list(members) == [f"{name}.{kind}" for name in names for kind in ("jpg", "json")],
            f"{key} holds {list(members)}",
        )

    def _require(self, holds: bool, violation: str) -> None:  # noqa: FBT001 -- like an assert
        if not holds:
            self.violations.append(violation)


@dataclass(frozen=True, slots=True)
class IndexRow:
    """Row of an index file for a frame."""

    fingerprint: tuple[int, int] | None
    """Size and CRC-32C; None if the frame is not stored."""
    place: Place
    metadata: tuple[int, float, str | None]
    """chunk_id, timestamp and perceptual hash."""
    quality: int
    rendition: Place | None
    """Place of its rendition; None if it has none."""


IndexRows = dict[int, IndexRow]
"""By sequence."""


class Recorded(WrappingStore):
    """Store that reports its requests to a world."""

    def __init__(self, world: World, who: str) -> None:
        super().__init__(world.store)
        self._world = world
        self.who = who

    def put(self, key: str, data: bytes) -> None:
        with self._world.lock:
            self.inner.put(key, data)
            self._world.changed(self.who, "put", key, data)

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> None:
        self.put(key, b"".join(blocks))

    def create(self, key: str, data: bytes) -> None:
        with self._world.lock:
            self.inner.create(key, data)
            self._world.changed(self.who, "create", key, data)

    def delete(self, keys: Iterable[str]) -> int:
        wanted = [*keys]
        with self._world.lock:
            self.inner.delete(wanted)
            for key in wanted:
                self._world.changed(self.who, "delete", key, None)
        return len(wanted)


@dataclass(frozen=True, slots=True)
class RequestFaults:
    """Faults of ``count`` matching requests, after ``skip`` matching ones."""

    action: Action
    within: str
    skip: int
    count: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Action of another program before the request after ``skip`` matching ones."""

    action: Action
    within: str
    skip: int
    operation: Any


@dataclass(frozen=True, slots=True)
class Death:
    """The program dies before the request after ``skip`` matching ones."""

    action: Action
    within: str
    skip: int


PlannedFault = RequestFaults | Disturbance | Death
"""Something that does not go as a program expects."""


@dataclass(slots=True)
class FaultSchedule:
    """The schedule of one client's store; armed for one call at a time."""

    disturb: Callable[[Any], object]
    fired: list[Fault] = field(default_factory=list)
    has_died: bool = False
    total: Counter[str] = field(default_factory=Counter)
    _plan: list[tuple[PlannedFault, list[int]]] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.Lock)

    def arm(self, plan: Iterable[PlannedFault]) -> None:
        self.fired, self.has_died = [], False
        self._plan = [
            (one, [one.skip, one.count if isinstance(one, RequestFaults) else 1]) for one in plan
        ]

    def disarm(self) -> None:
        """Stop all faults, also for the program after a restart."""
        self._plan, self.has_died = [], False

    def __call__(self, action: Action, key: str) -> Fault | SideEffect | None:
        with self._lock:
            due = None if self.has_died else self._due(action, key)
            if isinstance(due, Death):
                self.has_died = True
                self.total["DEATH"] += 1
            if self.has_died:
                raise Crash(f"dead at {action} {key!r}")
            if isinstance(due, RequestFaults):
                self.fired.append(due.fault)
                self.total[due.fault.name] += 1
                return due.fault
        if not isinstance(due, Disturbance):
            return None
        operation = due.operation
        return SideEffect(lambda: self.disturb(operation))

    def _due(self, action: Action, key: str) -> PlannedFault | None:
        for one, left in self._plan:
            if one.action != action or one.within not in key:
                continue
            if left[0]:
                left[0] -= 1
            elif left[1]:
                left[1] -= 1
                return one
        return None


def faulty_store(world: World, who: str, fault_schedule: FaultSchedule, *, seed: int) -> Store:
    """Return a client's store, whose requests fail according to its schedule."""
    return FaultyStore(world.used_by(who), fault_schedule, seed=seed)


def _sequence(key: str) -> int:
    return int(key.rpartition("/")[2].removesuffix(".jpg"))


def _part_names(document: dict[str, Any]) -> list[str]:
    """Return the names of all parts of a manifest: those of segments, then of written frames."""
    return [*_segments_of_parts(document), *document["written_parts"]]


def _segments_of_parts(document: dict[str, Any]) -> dict[str, frozenset[str]]:
    """Return the segments that each part of a chunk commits."""
    found: dict[str, frozenset[str]] = {}
    for number, chunk in enumerate(document["chunks"]):
        segments = segments_of(_chunk_name(chunk["url"]))
        if len(chunk["segment_starts"]) == 1:
            found[f"{number:06d}"] = frozenset(segments)
        else:
            parts = (f"{number:06d}s{place:06d}" for place in range(SEGMENTS))
            found |= {part: frozenset({one}) for part, one in zip(parts, segments, strict=True)}
    return found


def _is_row_of(row: "IndexRow", expected: Row, *, is_unstored: bool) -> bool:
    """Return True if an index row is that of a frame of a chunk."""
    if row.metadata[:2] != (expected.chunk_id, expected.timestamp):
        return False
    if is_unstored:
        return row.fingerprint is None and row.place.key == "" and row.metadata[2] is None
    return row.fingerprint == _fingerprint(expected.jpeg)


def _chunk_name(url: str) -> str:
    return url.rpartition("/")[2].removeprefix("model-").removesuffix(".mp4")


def _fingerprint(jpeg: bytes) -> tuple[int, int]:
    return len(jpeg), google_crc32c.value(jpeg)


@lru_cache(maxsize=4096)
def _written(sequence: int, row: IndexRow) -> Written:
    """Return the frame of a row, with the picture -1 if it was never written."""
    quality = row.quality or ALL.quality
    picture = -1 if row.fingerprint is None else _picture(row.fingerprint, quality)
    for metadata in (NO_METADATA, *METADATA):
        frame = Written(sequence, picture, metadata, quality)
        if picture >= 0 and _metadata(frame) == row.metadata:
            return frame
    return Written(sequence, -1, 0, quality)


def _metadata(frame: Written) -> tuple[int, float, str | None]:
    row = written_row(frame)
    return row.chunk_id, row.timestamp, row.perceptual_hash


def _picture(fingerprint: tuple[int, int], quality: int) -> int:
    return _pictures(quality).get(fingerprint, -1)


@cache
def _pictures(quality: int) -> dict[tuple[int, int], int]:
    frames = [Written(0, picture, 0, quality) for picture in PICTURES]
    return {_fingerprint(written_row(frame).jpeg): frame.picture for frame in frames}


@lru_cache(maxsize=256)
def _parsed(body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body)
    return document


@lru_cache(maxsize=256)
def _rows_in(body: bytes) -> IndexRows:
    about = ["chunk_id", "timestamp", "perceptual_hash", "quality"]
    names = ["sequence", "size", "crc32c", "key", "offset", *about]
    file = pq.ParquetFile(BytesIO(body))
    of_renditions = [f"{name}_{RENDITION}" for name in ("key", "offset", "size")]
    has_renditions = of_renditions[0] in file.schema_arrow.names
    table = file.read([*names, *of_renditions * has_renditions], use_threads=False)
    renditions = (
        zip(*(table[name].to_pylist() for name in of_renditions), strict=True)
        if has_renditions
        else [("", 0, 0)] * len(table)
    )
    return {
        sequence: IndexRow(
            None if size is None else (size, crc32c),
            Place(key, offset, size or 0),
            (*metadata,),
            quality,
            Place(*rendition) if rendition[0] else None,
        )
        for (sequence, size, crc32c, key, offset, *metadata, quality), rendition in zip(
            zip(*(table[name].to_pylist() for name in names), strict=True), renditions, strict=True
        )
    }


def _number(epoch: str) -> int:
    """Return the number of an epoch, without its random digits."""
    return int(epoch.partition("-")[0])
