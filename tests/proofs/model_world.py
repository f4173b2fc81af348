"""One store that several programs use, everything that ever reached it, and what they suffer.

What a timeline is, is read here from its blobs by json and pyarrow, not by framecache.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from io import BytesIO
from typing import Any, Final
from uuid import uuid4

import google_crc32c
import pyarrow.parquet as pq
from model_expected import PICTURES, Rows, rows_of, rows_of_chunk, written_row
from model_plain import Setting, State

from framecache import FrameCache
from framecache.store import Store
from framecache.testing import Action, Fault, FaultyStore, Interlude, WrappingStore

ROOT: Final = "cache/timelines"
DAMAGE: Final = frozenset({Fault.TRUNCATE, Fault.FLIP})


@dataclass(frozen=True, slots=True)
class Landed:
    """A change that reached the store."""

    who: str
    action: Action
    key: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A timeline as its blobs are."""

    state: State
    unsound: frozenset[int] = frozenset()
    """Committed frames whose blob is missing or another."""

    @property
    def rows(self) -> Rows:
        return rows_of(self.state)


class World:
    """A memory store, a copy of all its blobs, and a log of what changed them."""

    def __init__(self) -> None:
        self.store: Final = FrameCache(f"memory://{uuid4().hex}").store
        self.blobs: dict[str, bytes] = {}
        self.log: list[Landed] = []
        self.violations: list[str] = []
        self.lock: Final = threading.RLock()
        self._commits = Counter[str]()

    @property
    def commits(self) -> int:
        """Parts of chunks that were committed in the epoch that was current."""
        return self._commits.total()

    def used_by(self, who: str) -> "Recorded":
        """The store, as somebody uses it whose changes are to be told apart."""
        return Recorded(self, who)

    def changed(self, who: str, action: Action, key: str, data: bytes | None) -> None:
        """Note what reached the store."""
        self.log.append(Landed(who, action, key))
        if data is None:
            self.blobs.pop(key, None)
            return
        self.blobs[key] = data
        _, _, _, folder, *rest = [*key.split("/"), ""]
        if folder == "index" and not rest[1].startswith("timeline-"):
            self._check_commit(key, rest[0], rest[1])

    def look(self, timeline_id: str) -> Seen:
        """What a timeline is at this moment."""
        with self.lock:
            return self._look(timeline_id)

    def touched_frames(self, timeline_id: str, *, since: int, by: str) -> set[int]:
        """The frames that somebody stored or deleted from a place in the log on."""
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
        """The JPEGs that lie there, whoever stored them, by sequence."""
        return {_sequence(key): self.blobs[key] for key in self.keys(timeline_id, "frames/")}

    def _look(self, timeline_id: str) -> Seen:
        document = self._description(timeline_id)
        if document is None:
            return Seen(State(listed=frozenset(self.frames(timeline_id).items())))
        state = self._state(timeline_id, document)
        unsound = [
            sequence
            for sequence, row in rows_of(state).items()
            if self.blobs.get(f"{ROOT}/{timeline_id}/frames/{sequence}.jpg") != row.jpeg
        ]
        return Seen(state, frozenset(unsound))

    def _description(self, timeline_id: str) -> dict[str, Any] | None:
        versions = self.keys(timeline_id, "timeline/")
        return _parsed(self.blobs[max(versions)]) if versions else None

    def _state(self, timeline_id: str, document: dict[str, Any]) -> State:
        epoch = document["epoch"]
        chunks = tuple(_chunk_name(chunk["url"]) for chunk in document["chunks"])
        setting = Setting(document["sampling"].get("n"), document["jpeg"]["quality"])
        parts = {
            part: self._part(timeline_id, document, part)
            for part in (*(f"{i:06d}" for i in range(len(chunks))), *document["written_parts"])
        }
        for position, chunk in enumerate(chunks):
            rows = parts.pop(f"{position:06d}")
            expected = rows_of_chunk(chunks, setting, chunk)
            if rows is not None:
                parts[chunk] = rows
                self._require(
                    rows == {row.sequence: _fingerprint(row.jpeg) for row in expected},
                    f"the part of {chunk} in {epoch} is not what {chunks} give with {setting}",
                )
        written = {
            sequence: _picture(fingerprint, setting.quality)
            for part in document["written_parts"]
            for sequence, fingerprint in (parts[part] or {}).items()
        }
        self._check_compaction(timeline_id, document, parts)
        cached = frozenset(chunk for chunk in chunks if chunk in parts)
        return State(epoch, chunks, setting, cached, frozenset(written.items()))

    def _part(
        self, timeline_id: str, document: dict[str, Any], part: str
    ) -> dict[int, tuple[int, int]] | None:
        generation = document["generations"].get(part, 0)
        key = f"{ROOT}/{timeline_id}/index/{document['epoch']}/{part}-{generation}.parquet"
        body = self.blobs.get(key)
        return None if body is None else _rows_in(body)

    def _check_compaction(
        self,
        timeline_id: str,
        document: dict[str, Any],
        parts: dict[str, dict[int, tuple[int, int]] | None],
    ) -> None:
        compaction = document["compaction"]
        if compaction is None:
            return
        name = f"timeline-{compaction['number']}.parquet"
        body = self.blobs.get(f"{ROOT}/{timeline_id}/index/{document['epoch']}/{name}")
        covered = set(compaction["parts"])
        names = [_chunk_name(chunk["url"]) for chunk in document["chunks"]]
        there = [
            parts.get(names[int(part)] if part.isdigit() else part) for part in sorted(covered)
        ]
        if body is None or None in there:
            return
        rows = {sequence: row for part in there if part for sequence, row in part.items()}
        self._require(_rows_in(body) == rows, f"{name} is not the sum of {sorted(covered)}")

    def _check_commit(self, key: str, epoch: str, name: str) -> None:
        """At the moment of a commit: nothing else was committed there, and its frames are."""
        timeline_id = key.split("/")[2]
        document = self._description(timeline_id)
        if document is None or document["epoch"] != epoch:
            return  # someone slept: it counts for nothing
        self._commits[key] += 1
        self._require(self._commits[key] == 1, f"{key} was committed twice")
        if name.startswith("w"):
            return  # it counts once it is described
        folder = f"{ROOT}/{timeline_id}/frames/"
        for sequence, fingerprint in _rows_in(self.blobs[key]).items():
            stored = self.blobs.get(f"{folder}{sequence}.jpg")
            self._require(
                stored is not None and _fingerprint(stored) == fingerprint,
                f"{key} was committed before its frame {sequence}",
            )

    def _require(self, holds: bool, violation: str) -> None:  # noqa: FBT001 -- like an assert
        if not holds:
            self.violations.append(violation)


class Recorded(WrappingStore):
    """Tells a world what reaches its store."""

    def __init__(self, world: World, who: str) -> None:
        super().__init__(world.store)
        self._world = world
        self.who = who

    def put(self, key: str, data: bytes) -> None:
        with self._world.lock:
            self.inner.put(key, data)
            self._world.changed(self.who, "put", key, data)

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
class Arm:
    """Requests that go wrong: from the one after ``skip`` matching ones on, ``count`` of them."""

    action: Action
    within: str
    skip: int
    count: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What another program does before the request after ``skip`` matching ones."""

    action: Action
    within: str
    skip: int
    operation: Any


@dataclass(slots=True)
class Suffering:
    """The schedule of one client's store; armed for one call at a time."""

    disturb: Callable[[Any], object]
    fired: list[Fault] = field(default_factory=list)
    total: Counter[str] = field(default_factory=Counter)
    _plan: list[tuple[Arm | Disturbance, list[int]]] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.Lock)

    def arm(self, plan: Iterable[Arm | Disturbance]) -> None:
        self.fired = []
        self._plan = [(one, [one.skip, one.count if isinstance(one, Arm) else 1]) for one in plan]

    def disarm(self) -> None:
        self._plan = []

    def __call__(self, action: Action, key: str) -> Fault | Interlude | None:
        with self._lock:
            due = self._due(action, key)
            if isinstance(due, Arm):
                self.fired.append(due.fault)
                self.total[due.fault.name] += 1
                return due.fault
        if due is None:
            return None
        operation = due.operation
        return Interlude(lambda: self.disturb(operation))

    def _due(self, action: Action, key: str) -> Arm | Disturbance | None:
        for one, left in self._plan:
            if one.action != action or one.within not in key:
                continue
            if left[0]:
                left[0] -= 1
            elif left[1]:
                left[1] -= 1
                return one
        return None


def suffering_store(world: World, who: str, suffering: Suffering, *, seed: int) -> Store:
    """The store as a client has it, whose requests go wrong as it is armed."""
    return FaultyStore(world.used_by(who), suffering, seed=seed)


def _sequence(key: str) -> int:
    return int(key.rpartition("/")[2].removesuffix(".jpg"))


def _chunk_name(url: str) -> str:
    return url.rpartition("/")[2].removeprefix("model-").removesuffix(".mp4")


def _fingerprint(jpeg: bytes) -> tuple[int, int]:
    return len(jpeg), google_crc32c.value(jpeg)


def _picture(fingerprint: tuple[int, int], quality: int) -> int:
    return _pictures(quality).get(fingerprint, -1)


@cache
def _pictures(quality: int) -> dict[tuple[int, int], int]:
    return {_fingerprint(written_row(0, picture, quality).jpeg): picture for picture in PICTURES}


@lru_cache(maxsize=256)
def _parsed(body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body)
    return document


@lru_cache(maxsize=256)
def _rows_in(body: bytes) -> dict[int, tuple[int, int]]:
    table = pq.ParquetFile(BytesIO(body)).read(["sequence", "size", "crc32c"], use_threads=False)
    columns = [table[name].to_pylist() for name in ("sequence", "size", "crc32c")]
    return {sequence: (size, crc32c) for sequence, size, crc32c in zip(*columns, strict=True)}
