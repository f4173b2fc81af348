"""A timeline as a plain value, and the possible results of each operation, without framecache.

An operation is a few atomic steps: create a manifest, commit a segment, end the epoch. If it fails,
some of them were done; if others worked during it, some were done before and some after.
:func:`endings` enumerates all possible results.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

Layout = Literal["objects", "packs", "video"]
Refusal = Literal[
    "SettingsConflict", "NotCached", "TimelineCleared", "TablesContradicted", "InvalidValue"
]
OnConflict = Literal["raise", "replace", "keep"]
ChunkRefusal = Literal["ChunkChanged", "UnreadableChunk"]
REFUSALS: frozenset[Refusal] = frozenset({"SettingsConflict", "NotCached", "TimelineCleared"})


class Setting(NamedTuple):
    """Settings that, with the chunks, determine a timeline's frames."""

    every: int | None
    """Every n-th frame is taken; None: all."""
    quality: int


ALL = Setting(None, 85)
"""Settings of a call that states none."""
HALF = Setting(2, 60)
NO_METADATA: Final = -1


class Written(NamedTuple):
    """A frame that a program wrote."""

    sequence: int
    picture: int
    metadata: int
    """Number of the time, chunk and hash; NO_METADATA: another program stored the frame."""
    quality: int
    """Quality of the JPEG."""


WrittenFrames = frozenset[Written]
SEGMENTS: Final = 2
"""Segments of each chunk that is not whole."""
LYING: Final = frozenset({"l"})
"""Chunks whose sample tables list a frame, in their last segment, that the video does not have."""


def segments_of(chunks: Iterable[str]) -> tuple[str, ...]:
    """Return the segments of chunks, in order: ``a0`` and ``a1`` are those of ``a``."""
    return tuple(f"{chunk}{number}" for chunk in chunks for number in range(SEGMENTS))


def last_segment_of(chunk: str) -> str:
    """Return the last segment of a chunk."""
    return segments_of(chunk)[-1]


def adopted(listed: frozenset[tuple[int, int]]) -> WrittenFrames:
    """Frames of another program, once a manifest names them; each is a sequence and a picture."""
    return frozenset(Written(*one, NO_METADATA, ALL.quality) for one in listed)


@dataclass(frozen=True, slots=True)
class State:
    """State of a timeline at one moment."""

    epoch: str = ""
    """Another one after every clear; each step of an operation that starts one adds a mark."""
    chunks: tuple[str, ...] | None = None
    """Chunks of the manifest, in order; none for written frames, None if there is no manifest."""
    setting: Setting | None = None
    layout: Layout = "objects"
    """In which frames are stored from now on."""
    cached: frozenset[str] = frozenset()
    """Segments that are committed."""
    written: WrittenFrames = frozenset()
    listed: frozenset[tuple[int, bytes]] = frozenset()
    """Sequence and JPEG of each frame of a timeline without a manifest."""
    listed_pictures: frozenset[tuple[int, int]] = frozenset()
    """Sequence and picture of each of them."""
    begun: bool = False
    """True if only a clear or a rebuild may end the epoch."""
    whole: frozenset[str] = frozenset()
    """Chunks that are committed at once: those that were planned in layout ``video``."""
    tables: frozenset[str] = frozenset()
    """Chunks that were planned from their sample tables."""

    @property
    def exists(self) -> bool:
        return bool(self.cached or self.written or self.listed)

    @property
    def is_complete(self) -> bool:
        return self.exists and self.cached == set(segments_of(self.chunks or ()))

    @property
    def wrong(self) -> frozenset[str]:
        """Chunks that have a frame in the manifest which they do not have in the video."""
        return self.tables & LYING

    @property
    def contradicts_rows(self) -> bool:
        """True if a committed row may be of a frame that its chunk does not have."""
        return not self.cached.isdisjoint(map(last_segment_of, self.wrong))

    def next_epoch(
        self,
        setting: Setting | None,
        chunks: tuple[str, ...] | None,
        layout: Layout | None,
    ) -> "State":
        layout = layout or self.layout
        first = State(self.epoch + "+", (), setting, layout)
        return replace(first, chunks=None) if chunks is None else first.with_chunks(chunks)

    def cleared(self) -> "State":
        """Return the next epoch with the same chunks, which are divided and listed as before."""
        following = self.next_epoch(self.setting, self.chunks, self.layout)
        return replace(following, whole=self.whole, tables=self.tables)

    def replanned(self) -> "State":
        """Return the next epoch with the same chunks, planned from their packets."""
        following = self.next_epoch(self.setting, self.chunks, self.layout)
        return replace(following, tables=frozenset())

    def with_chunks(self, chunks: tuple[str, ...]) -> "State":
        """Return the state with more chunks, which are planned from their sample tables."""
        whole = self.whole | set(chunks) if self.layout == "video" else self.whole
        return replace(
            self,
            chunks=(*(self.chunks or ()), *chunks),
            whole=whole,
            tables=self.tables | set(chunks),
        )


class Refused(Exception):
    """Error of a step that an operation may not take; the operation ends."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class Step:
    """Atomic step of an operation."""

    def take(self, state: State) -> "tuple[State, tuple[Step, ...]]":
        """The state after it, and the steps it makes necessary.

        Raises:
            Refused: it may not be taken.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class CreateManifest(Step):
    chunks: tuple[str, ...]
    setting: Setting
    layout: Layout | None

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        next_state = self._next_state(state)
        return next_state, (CommitMissing(next_state, self.chunks),)

    def _next_state(self, state: State) -> State:
        if state.listed:
            raise Refused("SettingsConflict")
        if state.chunks is None:
            return state.next_epoch(self.setting, self.chunks, self.layout)
        if state.written:
            raise Refused("SettingsConflict")
        known = min(len(self.chunks), len(state.chunks))
        is_same = (state.setting, state.layout) == (self.setting, self.layout or state.layout)
        if is_same and state.chunks[:known] == self.chunks[:known]:
            return state.with_chunks(self.chunks[known:])
        if state.begun:
            raise Refused("SettingsConflict")
        return state.next_epoch(self.setting, self.chunks, self.layout)


@dataclass(frozen=True, slots=True)
class AppendToManifest(Step):
    chunk: str

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        if state.listed:
            raise Refused("SettingsConflict")
        if state.chunks is None:
            next_state = state.next_epoch(ALL, (self.chunk,), None)
        elif state.written:
            raise Refused("SettingsConflict")
        elif self.chunk in state.chunks:
            next_state = state
        else:
            next_state = state.with_chunks((self.chunk,))
        return next_state, (CommitMissing(next_state, (self.chunk,)),)


@dataclass(frozen=True, slots=True)
class ReplaceManifest(Step):
    setting: Setting | None
    layout: Layout | None

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        if not state.chunks:
            raise Refused("NotCached")
        next_state = state.next_epoch(self.setting or state.setting, state.chunks, self.layout)
        if state.layout == "video":
            # None of its frames was checked against the tables.
            next_state = replace(next_state, tables=frozenset())
        return next_state, (CommitMissing(next_state, state.chunks),)


@dataclass(frozen=True, slots=True)
class CommitMissing(Step):
    """Determine which segments are missing."""

    planned: State
    """State with the manifest by which the program works."""
    chunks: tuple[str, ...]

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        epoch = self.planned.epoch
        cached = state.cached if state.epoch == epoch else frozenset[str]()
        missing = [
            one
            for one in segments_of(self.chunks)
            if one not in cached and not (one[0] in state.whole and int(one[1]))
        ]
        commits: list[Step] = []
        for one in missing:
            if self._is_contradicted(one):
                commits.append(Replan(self.planned))
                continue
            if not any(isinstance(step, CommitSegment) for step in commits):
                commits.append(Begin(epoch))
            commits.append(CommitSegment(epoch, one))
        return state, tuple(commits)

    def _is_contradicted(self, segment: str) -> bool:
        """Return True if the video contradicts the tables when the segment is decoded."""
        chunk, planned = segment[0], self.planned
        if planned.layout == "video" or chunk not in planned.wrong:
            return False
        return chunk in planned.whole or segment == last_segment_of(chunk)


@dataclass(frozen=True, slots=True)
class Replan(Step):
    """Plan all chunks from their packets, because one contradicts its sample tables.

    The program leaves what it had to do in the epoch.
    """

    planned: State

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        planned = self.planned
        if state.epoch == planned.epoch:
            state = state.replanned()
        elif not self._is_replanned(state):
            raise Refused("TimelineCleared")
        return state, (CommitMissing(state, state.chunks or ()),)

    def _is_replanned(self, state: State) -> bool:
        """Return True if another program has done the same."""
        planned = self.planned
        chunks = planned.chunks or ()
        return (
            (state.chunks or ())[: len(chunks)] == chunks
            and (state.setting, state.layout) == (planned.setting, planned.layout)
            and not state.tables
        )


@dataclass(frozen=True, slots=True)
class Begin(Step):
    epoch: str

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        if state.epoch != self.epoch:
            raise Refused("TimelineCleared")
        return replace(state, begun=True), ()


@dataclass(frozen=True, slots=True)
class CommitSegment(Step):
    epoch: str
    segment: str

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        if state.epoch != self.epoch:
            raise Refused("TimelineCleared")
        chunk = self.segment[0]
        committed = segments_of(chunk) if chunk in state.whole else (self.segment,)
        return replace(state, cached=state.cached.union(committed)), ()


@dataclass(frozen=True, slots=True)
class CreateManifestOfWritten(Step):
    frames: WrittenFrames
    quality: int
    layout: Layout | None
    on_conflict: OnConflict

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        next_state = self._next_state(
            state, Setting(None, self.quality), self.layout or state.layout
        )
        return next_state, (CompareWritten(next_state.epoch, self.frames, self.on_conflict),)

    def _next_state(self, state: State, setting: Setting, layout: Layout) -> State:
        if state.listed and self.on_conflict == "raise":
            raise Refused("SettingsConflict")
        if state.chunks is None:
            first = state.next_epoch(setting, (), layout)
            return replace(first, written=adopted(state.listed_pictures))
        if state.chunks:
            raise Refused("SettingsConflict")
        if not state.written:
            return replace(state, setting=setting, layout=layout)
        # A quality is kept with each frame, so those that are replaced may have another.
        is_quality_fixed = self.on_conflict == "raise" and state.setting != setting
        if is_quality_fixed or state.layout != layout:
            raise Refused("SettingsConflict")
        return state


@dataclass(frozen=True, slots=True)
class CompareWritten(Step):
    """Determine which frames are cached, and how."""

    epoch: str
    frames: WrittenFrames
    on_conflict: OnConflict

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        written = state.written if state.epoch == self.epoch else WrittenFrames()
        if state.setting is None:
            return state, (CommitWritten(self.epoch, self.frames, self.on_conflict, None, ""),)
        left = _left_to_commit(self.frames, written, self.on_conflict)
        if not left:
            return state, ()
        commit = CommitWritten(self.epoch, left, self.on_conflict, state.setting, state.layout)
        return state, (commit,)


@dataclass(frozen=True, slots=True)
class CommitWritten(Step):
    epoch: str
    frames: WrittenFrames
    on_conflict: OnConflict
    setting: Setting | None
    layout: Layout | Literal[""]

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        if state.epoch != self.epoch:
            raise Refused("TimelineCleared")
        # A quality is kept with each frame, so those that are replaced may have another.
        is_quality_fixed = self.on_conflict == "raise" and state.setting != self.setting
        if is_quality_fixed or state.layout != self.layout:
            raise Refused("SettingsConflict")
        frames = _left_to_commit(self.frames, state.written, self.on_conflict)
        sequences = {frame.sequence for frame in frames}
        kept = {frame for frame in state.written if frame.sequence not in sequences}
        return replace(state, written=frames | kept), ()


def _left_to_commit(
    frames: WrittenFrames, written: WrittenFrames, on_conflict: OnConflict
) -> WrittenFrames:
    """The frames that are not cached, or not just so.

    Raises:
        Refused: one is cached otherwise, and conflicts are to raise.
    """
    cached = {frame.sequence for frame in written}
    if on_conflict == "keep":
        return frozenset(frame for frame in frames if frame.sequence not in cached)
    left = frames - written
    if on_conflict == "raise" and any(frame.sequence in cached for frame in left):
        raise Refused("SettingsConflict")
    return left


@dataclass(frozen=True, slots=True)
class EndEpoch(Step):
    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        if state.chunks is None:
            left = replace(state, listed=frozenset(), listed_pictures=frozenset())
            return left, (EndNewEpoch(),)
        return state.cleared(), ()


@dataclass(frozen=True, slots=True)
class EndNewEpoch(Step):
    """End the epoch that another program began while listed frames were removed."""

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        if state.chunks is None:
            return state, ()
        return state.cleared(), ()


@dataclass(frozen=True, slots=True)
class ChangeLayout(Step):
    """Move all frames to a layout."""

    layout: Layout

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        if state.chunks is None:
            raise Refused("NotCached")
        if self.layout == "video" != state.layout:
            raise Refused("SettingsConflict")
        if state.layout == "video" != self.layout and state.contradicts_rows:
            raise Refused("TablesContradicted")
        return replace(state, layout=self.layout), ()


@dataclass(frozen=True, slots=True)
class RequireStoredFrames(Step):
    """Require a manifest, and a layout that stores frames."""

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        if state.chunks is None:
            raise Refused("NotCached")
        if state.layout == "video":
            raise Refused("InvalidValue")
        return state, ()


@dataclass(frozen=True, slots=True)
class RequireFrames(Step):
    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        if state.chunks is None and not state.listed:
            raise Refused("NotCached")
        return state, ()


@dataclass(frozen=True, slots=True)
class Forget(Step):
    """Remove the manifests."""

    def take(self, state: State) -> tuple[State, tuple[Step, ...]]:
        return State(state.epoch + "-"), ()


@dataclass(frozen=True, slots=True)
class Extract:
    chunks: tuple[str, ...]
    setting: Setting
    layout: Layout | None = None

    def steps(self) -> tuple[Step, ...]:
        return (CreateManifest(self.chunks, self.setting, self.layout),)


@dataclass(frozen=True, slots=True)
class Append:
    chunk: str

    def steps(self) -> tuple[Step, ...]:
        return (AppendToManifest(self.chunk),)


@dataclass(frozen=True, slots=True)
class Rebuild:
    setting: Setting | None
    layout: Layout | None = None

    def steps(self) -> tuple[Step, ...]:
        return (ReplaceManifest(self.setting, self.layout),)


@dataclass(frozen=True, slots=True)
class Write:
    frames: tuple[tuple[int, int, int], ...]
    """Sequence, picture and metadata."""
    quality: int
    layout: Layout | None = None
    on_conflict: OnConflict = "raise"

    def steps(self) -> tuple[Step, ...]:
        frames = frozenset(Written(*frame, self.quality) for frame in self.frames)
        return (CreateManifestOfWritten(frames, self.quality, self.layout, self.on_conflict),)


@dataclass(frozen=True, slots=True)
class Repack:
    layout: Layout

    def steps(self) -> tuple[Step, ...]:
        return (ChangeLayout(self.layout),)


@dataclass(frozen=True, slots=True)
class AddRenditions:
    """Store smaller copies of all frames, and of those that are stored later."""

    def steps(self) -> tuple[Step, ...]:
        return (RequireStoredFrames(),)


@dataclass(frozen=True, slots=True)
class Clear:
    def steps(self) -> tuple[Step, ...]:
        return (EndEpoch(),)


@dataclass(frozen=True, slots=True)
class Delete:
    def steps(self) -> tuple[Step, ...]:
        return (EndEpoch(), Forget())


@dataclass(frozen=True, slots=True)
class DeleteLeases:
    """Another program removes every lease."""

    def steps(self) -> tuple[Step, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Repair:
    """Repair damage, and move replaced frames to their public names."""

    def steps(self) -> tuple[Step, ...]:
        return (RequireFrames(),)


@dataclass(frozen=True, slots=True)
class Collect:
    """Remove unreferenced blobs; no other program is at work."""

    def steps(self) -> tuple[Step, ...]:
        return ()


Operation = (
    Extract
    | Append
    | Rebuild
    | Write
    | Repack
    | AddRenditions
    | Clear
    | Delete
    | DeleteLeases
    | Repair
    | Collect
)


@dataclass(frozen=True, slots=True)
class Done:
    """An operation, and how it ended."""

    operation: Operation
    error: BaseException | None = None
    between: "tuple[Done, ...]" = field(default=())
    """Operations of other programs during this one, in order."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Possible end of an operation."""

    state: State
    how: Literal["finished", "stopped", "CorruptFrame", "StoreUnavailable"] | Refusal | ChunkRefusal


def endings(state: State, done: Done) -> Iterator[Ending]:
    """Enumerate the ways in which an operation can end, including the effects of others."""
    return _walk(state, done.operation.steps(), done.between, is_alone=not done.between)


def states_after(state: State, done: Done) -> set[State]:
    """Return the states to which an operation that ended so can have led.

    One that succeeded took all its steps. A fault may make it fail after any of them.
    """
    ends = list(endings(state, done))
    if done.error is None:
        return {ending.state for ending in ends if ending.how == "finished"}
    return {ending.state for ending in ends}


def _walk(
    state: State, todo: tuple[Step, ...], between: Sequence[Done], *, is_alone: bool
) -> Iterator[Ending]:
    if between:
        for following in states_after(state, between[0]):
            yield from _walk(following, todo, between[1:], is_alone=is_alone)
    else:
        yield Ending(state, "stopped" if todo else "finished")
    if not todo:
        return
    try:
        following, more = todo[0].take(state)
    except Refused as refused:
        if not between:
            yield Ending(state, refused.refusal)
            # The last frames were stored into an epoch that had ended since the check.
            if isinstance(todo[0], CommitSegment) and len(todo) == 1:
                yield Ending(state, "finished")
        return
    rest = () if isinstance(todo[0], Replan) else todo[1:]
    yield from _walk(following, (*more, *rest), between, is_alone=is_alone)
    if isinstance(todo[0], CommitSegment | Replan):
        # The program that had this segment has died: the next was extracted first.
        yield from _only_failing(_walk(state, todo[1:], between, is_alone=is_alone))
    if isinstance(todo[0], Forget) and not is_alone:
        # Chunks that others added since the manifests were listed stay.
        yield from _walk(state, (), between, is_alone=is_alone)


def _only_failing(ends: Iterator[Ending]) -> Iterator[Ending]:
    return (ending for ending in ends if ending.how != "finished")
