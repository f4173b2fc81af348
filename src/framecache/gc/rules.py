"""What of a timeline can go. Pure: decides from a listing and from what is committed.

Nothing goes that is younger than the grace period, which is longer than any program sleeps
between two of its requests. What follows from that:

- An index file of the current epoch that another replaced goes when *that other* is older than
  the period: whoever still means to read it has not asked for so long. The oldest file stays: it
  tells which overlays are older than all frames of the epoch. So does the oldest of each part
  that put frames in the place of others.
- So does a version of the description, when the version after it is: whoever knows version
  ``n`` asks only whether ``n + 1`` is there. The oldest go first and the last two stay, so
  that where ``n + 1`` is gone ``n`` is, too, and nobody who looks it up takes it for current.
- Nobody is at work on a part whose claims are all older; of one that somebody is at work on, the
  first claim stays however old it is.
- Frames, packs and generations of index parts that nothing names stay while anybody is at work in
  the epoch: whoever moves a timeline into another layout stores many before one description names
  them all.
- What a program is storing lies beside what crashed ones have left: frames that nothing names
  stay as long as one of them is younger, or the timeline is claimed.

Overlays, the current description, what framecache does not know, and all of a timeline that it
has not described are never touched.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from framecache import keys
from framecache.errors import FrameCacheError
from framecache.manifest import Description
from framecache.store import BlobInfo
from framecache.sweep import Removal

_FRAMES_AT_ONCE: Final = 4096
_NOTHING: Final = Removal(0, 0)
_LONG_AGO: Final = datetime.fromtimestamp(0, UTC)

Numbers = npt.NDArray[np.int64]


class Reason(StrEnum):
    """Why something can go."""

    OLD_EPOCHS = "old epochs"
    """Index files, packs and sheets of thumbnails from before a clear or rebuild."""
    DEAD_CLAIMS = "dead claims"
    """Signs of life of programs that give none any more."""
    ORPHANS = "orphans"
    """Frames, packs and index files of the current epoch that nothing names."""
    ABANDONED_ATTEMPTS = "abandoned attempts"
    """Frames of chunks that nobody finished or is at work on."""
    OLD_DESCRIPTIONS = "old descriptions"
    """Versions of what a timeline is that were replaced."""
    ABANDONED_UPLOADS = "abandoned uploads"
    """On local disk, what killed programs left of blobs they were storing."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameBlobs:
    """Frames by number: 16 bytes for each, since there may be millions."""

    sequences: Numbers
    """Ascending."""
    sizes: Numbers
    """Bytes of each."""

    @classmethod
    def of(cls, sequences: Numbers, sizes: Numbers) -> Self:
        """Frames given in any order."""
        order = np.argsort(sequences, kind="stable")
        return cls(sequences[order], sizes[order])

    @classmethod
    def listed(cls, found: Iterable[tuple[int, int]]) -> Self:
        """Frames as sequence and size, in any order."""
        sequences, sizes = array("q"), array("q")
        for sequence, size in found:
            sequences.append(sequence)
            sizes.append(size)
        return cls.of(np.array(sequences), np.array(sizes))

    @property
    def amount(self) -> Removal:
        """How many they are."""
        return Removal(len(self.sequences), int(self.sizes.sum()))

    def __len__(self) -> int:
        return len(self.sequences)

    def between(self, start: int, stop: int) -> "FrameBlobs":
        """Those from a sequence to before another."""
        first, last = np.searchsorted(self.sequences, [start, stop])
        return self.at(int(first), int(last))

    def at(self, first: int, last: int) -> "FrameBlobs":
        """Those at some positions."""
        return FrameBlobs(self.sequences[first:last], self.sizes[first:last])

    def contain(self, wanted: Numbers) -> npt.NDArray[np.bool_]:
        """Which of some sequences are among them."""
        return _are_among(self.sequences, wanted)

    def where(self, chosen: npt.NDArray[np.bool_]) -> "FrameBlobs":
        """Those that a mask chooses."""
        return FrameBlobs(self.sequences[chosen], self.sizes[chosen])


_NO_FRAMES: Final = FrameBlobs(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Committed:
    """What of a timeline counts."""

    description: Description | None
    """None: framecache has not described it."""
    sequences: Numbers
    """Frames with a picture that are blobs of their own, ascending."""
    packs: frozenset[str]
    """Keys of the packs that the index names."""
    missing_parts: frozenset[str]
    """Described, and not committed yet."""
    dating_parts: frozenset[str] = frozenset()
    """Parts that tell since when replaced frames are what they are."""
    is_settled: bool = True
    """Whether every frame lies where its layout has it."""


NOTHING_COMMITTED: Final = Committed(None, np.empty(0, np.int64), frozenset(), frozenset())


@dataclass(frozen=True, slots=True, eq=False)
class TimelineState:
    """A timeline as it was when it was looked at, and what of it can go."""

    timeline_id: str
    description: Description | None
    problem: FrameCacheError | None
    """Why nothing can be said of it."""
    total: Removal
    """All of its blobs."""
    cached: Removal
    """Its frames, index files and sheets of thumbnails: what goes when it is evicted."""
    last_used_at: datetime
    """When any of its blobs was stored last; reading a timeline stores one now and then."""
    is_being_filled: bool
    missing_parts: frozenset[str]
    """Described, and not committed yet."""
    is_settled: bool = True
    """Whether no replaced frame is yet to be brought under its public name."""
    blobs: Mapping[Reason, tuple[BlobInfo, ...]] = field(default_factory=dict)
    """What can go, beside frames."""
    frames: Mapping[Reason, FrameBlobs] = field(default_factory=dict)
    """The frames that can go."""

    def amount(self, reason: Reason) -> Removal:
        """How much can go for one reason."""
        blobs = self.blobs.get(reason, ())
        size_bytes = sum(blob.size_bytes for blob in blobs)
        return Removal(len(blobs), size_bytes) + self.frames.get(reason, _NO_FRAMES).amount

    @property
    def can_be_rebuilt(self) -> bool:
        """Whether its frames can be extracted again."""
        return self.description is not None and bool(self.description.chunks)


def judge(
    timeline_id: str,
    listing: Iterable[BlobInfo],
    committed: Committed,
    *,
    before: datetime,
    problem: FrameCacheError | None = None,
) -> TimelineState:
    """Go through a listing of all blobs of a timeline once, and decide what can go.

    Args:
        timeline_id: whose blobs they are.
        listing: the blobs, in any order.
        committed: what counts; read before the listing was asked for.
        before: what was stored later stays.
        problem: why nothing can be decided; then all stays.
    """
    listed = _Listed(timeline_id, committed, before)
    for blob in listing:
        listed.add(blob)
    listed.frames.settle()
    description = committed.description
    is_being_filled = description is not None and any(
        blob.modified_at > before for blob in listed.claims[description.epoch]
    )
    state = TimelineState(
        timeline_id=timeline_id,
        description=description,
        problem=problem,
        total=listed.total,
        cached=listed.cached,
        last_used_at=listed.newest,
        is_being_filled=is_being_filled,
        missing_parts=committed.missing_parts,
        is_settled=committed.is_settled,
    )
    if problem is not None:
        return state
    if description is None:
        return _with(state, {Reason.ORPHANS: _old(listed.after_a_delete(), before)}, {})
    blobs = _blobs(state, listed, description, committed.dating_parts)
    return _with(state, blobs, _frames(state, listed, committed))


class _Listed:
    """The blobs of a timeline, by kind."""

    def __init__(self, timeline_id: str, committed: Committed, before: datetime) -> None:
        self.before = before
        self.frames = _UnnamedFrames(committed.sequences, before)
        self.index: dict[str, list[BlobInfo]] = defaultdict(list)
        """By epoch."""
        self.claims: dict[str, list[BlobInfo]] = defaultdict(list)
        """By epoch."""
        self.unnamed_packs: dict[str, list[BlobInfo]] = defaultdict(list)
        """By epoch."""
        self.sprites: dict[str, list[BlobInfo]] = defaultdict(list)
        """By epoch."""
        self.descriptions: dict[int, BlobInfo] = {}
        self.used: list[BlobInfo] = []
        self.total = self.cached = _NOTHING
        self.newest = _LONG_AGO
        self._timeline_id = timeline_id
        self._named_packs = committed.packs
        self._prefix = keys.timeline_prefix(timeline_id)

    def after_a_delete(self) -> list[BlobInfo]:
        """What a program may store after another deleted the timeline, where that is all there is.

        Frames are not among it: they may be another program's.
        """
        found = [
            *self.used,
            *(blob for blobs in self.index.values() for blob in blobs),
            *(blob for blobs in self.claims.values() for blob in blobs),
            *(blob for blobs in self.unnamed_packs.values() for blob in blobs),
            *(blob for blobs in self.sprites.values() for blob in blobs),
        ]
        return found if len(found) == self.total.blobs else []

    def add(self, blob: BlobInfo) -> None:
        amount = Removal(1, blob.size_bytes)
        self.total += amount
        self.newest = max(self.newest, blob.modified_at)
        sequence = keys.parse_frame(self._timeline_id, blob.key)
        if sequence is not None:
            self.cached += amount
            self.frames.add(sequence, blob)
            return
        match blob.key.removeprefix(self._prefix).split("/"):
            case ["index", epoch, _] if keys.parse_index(blob.key) is not None:
                self.cached += amount
                self.index[epoch].append(blob)
            case ["packs", epoch, _] if keys.parse_pack(self._timeline_id, blob.key) is not None:
                self.cached += amount
                if blob.key not in self._named_packs:
                    self.unnamed_packs[epoch].append(blob)
            case ["sprites", epoch, _] if (
                keys.parse_sprite(self._timeline_id, blob.key) is not None
            ):
                self.cached += amount
                self.sprites[epoch].append(blob)
            case ["claims", epoch, _] if keys.parse_claim(blob.key) is not None:
                self.claims[epoch].append(blob)
            case ["timeline", _]:
                version = keys.parse_description(self._timeline_id, blob.key)
                if version is not None:
                    self.descriptions[version] = blob
            case ["used"]:
                self.used.append(blob)


class _UnnamedFrames:
    """Collects frames and forgets those that are committed."""

    def __init__(self, named: Numbers, before: datetime) -> None:
        self.has_young = False
        self._named = named
        self._before = before
        self._kept: list[FrameBlobs] = []
        self._sequences, self._sizes, self._are_old = array("q"), array("q"), array("b")

    def add(self, sequence: int, blob: BlobInfo) -> None:
        self._sequences.append(sequence)
        self._sizes.append(blob.size_bytes)
        self._are_old.append(blob.modified_at <= self._before)
        if len(self._sequences) == _FRAMES_AT_ONCE:
            self.settle()

    def settle(self) -> None:
        """Decide of those that were added since."""
        frames = FrameBlobs(np.array(self._sequences), np.array(self._sizes))
        are_old = np.array(self._are_old, dtype=np.bool_)
        are_unnamed = ~_are_among(self._named, frames.sequences)
        self.has_young |= bool((are_unnamed & ~are_old).any())
        self._kept.append(frames.where(are_unnamed & are_old))
        self._sequences, self._sizes, self._are_old = array("q"), array("q"), array("b")

    @property
    def old(self) -> FrameBlobs:
        """Those older than the grace period."""
        sequences = np.concatenate([frames.sequences for frames in self._kept])
        return FrameBlobs.of(sequences, np.concatenate([frames.sizes for frames in self._kept]))


def _blobs(
    state: TimelineState,
    listed: _Listed,
    description: Description,
    dating_parts: frozenset[str],
) -> dict[Reason, list[BlobInfo]]:
    before = listed.before
    old_epochs = [
        blob
        for found in (listed.index, listed.unnamed_packs, listed.sprites)
        for epoch, blobs in found.items()
        for blob in blobs
        if epoch != description.epoch
    ]
    current = listed.index[description.epoch]
    orphans = _replaced_index_files(current, description, before)
    if not state.is_being_filled:
        orphans += _old(_undescribed(current, description), before)
        # Where the rows of written frames were lost, nobody can make their pictures again.
        if state.missing_parts.isdisjoint(description.written_parts):
            orphans += _old(listed.unnamed_packs[description.epoch], before)
    dating = dating_files(current, description, dating_parts)
    orphans = [blob for blob in orphans if blob.key not in dating]
    return {
        Reason.OLD_EPOCHS: _old(old_epochs, before),
        Reason.DEAD_CLAIMS: dead_claims(
            (blob for blobs in listed.claims.values() for blob in blobs), before
        ),
        Reason.ORPHANS: orphans,
        Reason.OLD_DESCRIPTIONS: _replaced_descriptions(listed, description, before),
    }


def dead_claims(blobs: Iterable[BlobInfo], before: datetime) -> list[BlobInfo]:
    """Those of parts for which no claim was made since a time."""
    by_part: dict[str, list[BlobInfo]] = defaultdict(list)
    for blob in blobs:
        by_part[blob.key.rpartition("-")[0]].append(blob)
    return [
        blob
        for claims in by_part.values()
        if all(claim.modified_at <= before for claim in claims)
        for blob in claims
    ]


def _replaced_index_files(
    blobs: Iterable[BlobInfo], description: Description, before: datetime
) -> list[BlobInfo]:
    """Index files that another took the place of."""
    named = _named_index_files(description)
    found: list[BlobInfo] = []
    for part, files in _by_part(blobs).items():
        current = named.get(part)
        if current in files:
            found += _replaced(files, current, before)
    return found


def dating_files(
    blobs: Iterable[BlobInfo], description: Description, dating_parts: frozenset[str]
) -> set[str]:
    """What tells since when there are frames, though their rows may have been repaired since.

    That is the oldest file of all parts, and of each part that put frames in the place of others.
    """
    files = {
        part: [*numbered.values()]
        for part, numbered in _by_part(blobs).items()
        if part in description.parts
    }
    groups = [[blob for found in files.values() for blob in found]]
    groups += [files[part] for part in dating_parts if part in files]
    oldest = (min(group, key=_when_stored, default=None) for group in groups)
    return {blob.key for blob in oldest if blob is not None}


def _when_stored(blob: BlobInfo) -> tuple[datetime, str]:
    return blob.modified_at, blob.key


def _undescribed(blobs: Iterable[BlobInfo], description: Description) -> list[BlobInfo]:
    """Index files that no description names, or not yet."""
    named = _named_index_files(description)
    found: list[BlobInfo] = []
    for part, files in _by_part(blobs).items():
        current = named.get(part)
        if current is None:
            found += files.values()
        elif current in files:
            found += [files[number] for number in files if number > current]
    return found


def _named_index_files(description: Description) -> dict[str, int]:
    named = {part: description.generations.get(part, 0) for part in description.parts}
    if description.compaction is not None:
        named[keys.COMPACTION] = description.compaction.number
    return named


def _by_part(blobs: Iterable[BlobInfo]) -> dict[str, dict[int, BlobInfo]]:
    by_part: dict[str, dict[int, BlobInfo]] = defaultdict(dict)
    for blob in blobs:
        if (parsed := keys.parse_index(blob.key)) is not None:
            part, number = parsed
            by_part[part][number] = blob
    return by_part


def _replaced_descriptions(
    listed: _Listed, description: Description, before: datetime
) -> list[BlobInfo]:
    """From the oldest on; the last stays, to make the current one anew from if it is damaged."""
    replaced = (number for number in listed.descriptions if number < description.version)
    return _replaced(listed.descriptions, max(replaced, default=0), before)


def _replaced(files: Mapping[int, BlobInfo], current: int, before: datetime) -> list[BlobInfo]:
    """Those below the current number that another followed long ago, ascending."""
    numbers = sorted(number for number in files if number <= current)
    return [
        files[number]
        for number, following in pairwise(numbers)
        if max(files[number].modified_at, files[following].modified_at) <= before
    ]


def _frames(
    state: TimelineState, listed: _Listed, committed: Committed
) -> dict[Reason, FrameBlobs]:
    unnamed = listed.frames.old
    description = committed.description
    chunks = description.chunks if description else ()
    if not chunks:
        # A written part is described after it was committed: one that is missing was lost, and
        # nobody can make its frames again.
        is_safe = not (committed.missing_parts or state.is_being_filled or listed.frames.has_young)
        return {Reason.ORPHANS: unnamed} if is_safe else {}
    are_missing = np.zeros(len(unnamed), dtype=np.bool_)
    for chunk in chunks:
        if chunk.part in committed.missing_parts:
            first, last = np.searchsorted(
                unnamed.sequences, [chunk.first_sequence, chunk.stop_sequence]
            )
            are_missing[first:last] = True
    if state.is_being_filled:
        return {}
    found = {Reason.ORPHANS: unnamed.where(~are_missing)}
    if not listed.frames.has_young:
        found[Reason.ABANDONED_ATTEMPTS] = unnamed.where(are_missing)
    return found


def _with(
    state: TimelineState,
    blobs: Mapping[Reason, list[BlobInfo]],
    frames: Mapping[Reason, FrameBlobs],
) -> TimelineState:
    return replace(
        state,
        blobs={reason: tuple(found) for reason, found in blobs.items() if found},
        frames={reason: found for reason, found in frames.items() if len(found)},
    )


def _old(blobs: Iterable[BlobInfo], before: datetime) -> list[BlobInfo]:
    return [blob for blob in blobs if blob.modified_at <= before]


def _are_among(ordered: Numbers, wanted: Numbers) -> npt.NDArray[np.bool_]:
    """Which of some numbers are among others, which ascend."""
    if not len(ordered):
        return np.zeros(len(wanted), dtype=np.bool_)
    positions = np.searchsorted(ordered, wanted)
    found: npt.NDArray[np.bool_] = ordered[np.minimum(positions, len(ordered) - 1)] == wanted
    return found
