"""Programs that use a store with faults, checked against a plain model after every step."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from chunk_changes import CHUNK_CHANGES, Trouble, changed_chunk
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from invariants import forget_chunks
from model_at_once import at_once
from model_calls import execute
from model_choices import (
    BEGINNINGS,
    CHANGES,
    CONTRADICTIONS,
    FAULTS,
    LAYOUTS,
    LAYOUTS_OF_CHUNKS,
    READINGS,
    REWRITES,
    STORED,
    Plan,
)
from model_expected import (
    CHUNKS,
    RENDITION,
    SIZE,
    chunk_url,
    clip,
    rows_of,
    rows_of_segment,
    written_row,
)
from model_plain import (
    ALL,
    LYING,
    REFUSALS,
    AddRenditions,
    Append,
    ChunkRefusal,
    Clear,
    Collect,
    Delete,
    DeleteLeases,
    Done,
    Ending,
    Extract,
    Layout,
    Operation,
    Rebuild,
    Repack,
    Repair,
    State,
    Write,
    Written,
    endings,
    segments_of,
)
from model_reads import NOT_CACHED, Read, ReadAt, ReadOne, agrees, looks_again
from model_world import DAMAGE, DECAY, ROOT, FaultSchedule, ObservedTimeline, World, faulty_store

from framecache import CorruptFrame, FrameCacheError, Overlays, Timeline
from framecache.testing import Crash, Fault
from outside import png_by_pillow

TIMELINES: Final = ("video", "written")
CLIENTS: Final = 3
FRESH: Final = 2
"""The client that remembers nothing from one call to the next."""
OTHER: Final = "other"
"""Name of the program that disturbs the others, and meets no faults."""
WRITES_ONLY: Final = (Write, Repair)
"""Operations that harm no committed frame, even if others of them run at the same time."""
CHUNK_REFUSALS: Final[tuple[ChunkRefusal, ...]] = ("ChunkChanged", "UnreadableChunk")
DAMAGE_FOUND: Final = ("missing", "truncated", "corrupt")
PNG: Final = png_by_pillow(0, width=SIZE, height=SIZE)


@dataclass(slots=True)
class Figures:
    """Totals over all examples of a run."""

    examples: int = 0
    steps: int = 0
    reads: int = 0
    commits: int = 0
    packs: int = 0
    """That were stored."""
    repacks: int = 0
    """That moved frames."""
    renditions: int = 0
    """Steps after which a timeline had renditions."""
    repacks_of_video: int = 0
    """That decoded frames."""
    replans: int = 0
    """New plans, because a chunk contradicted its sample tables."""
    tables_refused: int = 0
    """Calls on layout ``video`` that met a contradiction to the tables."""
    chunks_refused: int = 0
    """Calls that met another chunk."""
    replaced: int = 0
    """Frames that another took the place of."""
    disturbances: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    most_harmed: int = 0


@dataclass(slots=True)
class Client:
    """A program: its store, and what it may remember of each timeline."""

    name: str
    fault_schedule: FaultSchedule
    timelines: dict[str, Timeline]
    remembers: dict[str, list[State]] = field(default_factory=dict)
    """States of a timeline since this client last looked at it."""


class TimelineMachine(RuleBasedStateMachine):
    """Two timelines, three clients, one store."""

    figures = Figures()

    def __init__(self) -> None:
        super().__init__()
        self.figures.examples += 1
        self.world = World()
        self.clients = [self._client(f"client {n}", seed=n) for n in range(CLIENTS)]
        self.observed = {name: ObservedTimeline(State()) for name in TIMELINES}
        self.harmed: dict[str, set[int]] = {name: set() for name in TIMELINES}
        self.overlays: dict[str, dict[tuple[int, str], bytes]] = {name: {} for name in TIMELINES}
        self.between: list[Done] = []
        self.passing: list[State] = []
        self.slept_from: int | None = None
        self.has_slept = False
        self.has_changed_chunks = False
        """True while chunks are not those that were extracted."""
        self.current = "video"

    # Rules

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Start mostly with frames: an empty timeline has little to read or to damage."""
        for client, (timeline, operations) in zip(self.clients, BEGINNINGS.items(), strict=False):
            self._change(client, timeline, data.draw(operations), ())

    @rule(client=st.integers(0, CLIENTS - 1), data=st.data())
    def change(self, client: int, data: st.DataObject) -> None:
        timeline, operation, plan = data.draw(CHANGES)
        self._change(self.clients[client], timeline, operation, plan)

    @rule(client=st.integers(0, CLIENTS - 1), data=st.data())
    def write_again(self, client: int, data: st.DataObject) -> None:
        """Write cached frames again, since random changes rarely replace or keep frames."""
        operation, plan = data.draw(REWRITES)
        self._change(self.clients[client], "written", operation, plan)

    @rule(client=st.integers(0, CLIENTS - 1), data=st.data())
    def read(self, client: int, data: st.DataObject) -> None:
        timeline, read, plan = data.draw(READINGS)
        self._read(self.clients[client], timeline, read, plan)

    @rule(client=st.integers(0, CLIENTS - 1), data=st.data())
    def read_quietly(self, client: int, data: st.DataObject) -> None:
        timeline, read, _ = data.draw(READINGS)
        self._read(self.clients[client], timeline, read, ())

    @rule(
        client=st.integers(0, CLIENTS - 1),
        data=st.data(),
        trouble=st.sampled_from(CHUNK_CHANGES),
        after=st.integers(0, 2),
        layout=st.sampled_from((None, None, *LAYOUTS)),
    )
    def use_changing_chunks(
        self,
        client: int,
        data: st.DataObject,
        trouble: Trouble,
        after: int,
        layout: Layout | None,
    ) -> None:
        """Read or repack while the chunks are others, in a program that has decoded nothing."""
        _, read, _ = data.draw(READINGS)
        state = self.observed["video"].state
        if state.layout != "video" or not state.cached:
            begin = Rebuild(None, "video") if state.chunks else Extract(("a", "b"), ALL, "video")
            self._change(self.clients[client], "video", begin, ())
        forget_chunks()
        other = clip(sorted(CHUNKS)[after]).read_bytes()
        self.has_changed_chunks = True
        with changed_chunk(trouble, other, after=after):
            if layout is None:
                self._read(self.clients[client], "video", read, ())
            else:
                self._change(self.clients[client], "video", Repack(layout), ())
        self.has_changed_chunks = False
        forget_chunks()

    @rule(
        client=st.integers(0, CLIENTS - 1),
        data=st.data(),
        layout=st.sampled_from(LAYOUTS_OF_CHUNKS),
    )
    def append_chunk_with_wrong_tables(
        self, client: int, data: st.DataObject, layout: Layout
    ) -> None:
        """Append a chunk that contradicts its tables, since random changes rarely do.

        It deletes no frames, so that other rules have some to read and to damage.
        """
        read, plan = data.draw(CONTRADICTIONS)
        state = self.observed["video"].state
        if not state.exists:
            self._change(self.clients[client], "video", Delete(), ())
            self._change(self.clients[client], "video", Extract(("a",), ALL, layout), ())
        elif state.written or state.listed or "l" in (state.chunks or ()):
            return
        self._change(self.clients[client], "video", Append("l"), plan)
        self._read(self.clients[client], "video", read, ())

    @rule(
        client=st.integers(0, CLIENTS - 1),
        timeline=st.sampled_from(TIMELINES),
        sequence=st.integers(0, 3),
        name=st.sampled_from(("edges", "flow_x")),
        picture=st.binary(max_size=4),
        data=st.data(),
    )
    def save_overlay(
        self,
        client: int,
        timeline: str,
        sequence: int,
        name: str,
        picture: bytes,
        data: st.DataObject,
    ) -> None:
        self._save_overlay(
            self.clients[client], timeline, sequence, name, PNG + picture, data.draw(FAULTS)
        )

    @rule(
        client=st.integers(0, CLIENTS - 1),
        timeline=st.sampled_from(TIMELINES),
        sequence=st.integers(0, 3),
    )
    def load_overlays(self, client: int, timeline: str, sequence: int) -> None:
        stage = self.clients[client].timelines[timeline].overlays(job_id="run", stage="draw")
        kept = self.overlays[timeline]
        wanted = {name: data for (number, name), data in kept.items() if number == sequence}
        assert stage.load(sequence) == wanted
        assert stage.frames() == sorted({number for number, _ in kept})

    @rule(
        client=st.integers(0, CLIENTS - 1),
        timeline=st.sampled_from(TIMELINES),
        nth=st.integers(0, 20),
        whole=st.booleans(),
    )
    def damage_frame(self, client: int, timeline: str, nth: int, whole: bool) -> None:  # noqa: FBT001
        """Lose the blob of a stored frame, or change one byte of the frame, and read it."""
        observed = self.observed[timeline]
        sequences = sorted(observed.places)
        if not sequences or observed.state.listed:
            return
        place = observed.places[sequences[nth % len(sequences)]]
        store, stored = self.world.used_by(DECAY), self.world.blobs.get(place.key)
        # A byte of a pack belongs to one frame; a lost pack loses all of its frames.
        harmed = {number for number, one in observed.places.items() if one.key == place.key}
        if whole or stored is None:
            store.delete([place.key])
        else:
            middle = place.offset + place.size_bytes // 2
            store.put(
                place.key, stored[:middle] + bytes([stored[middle] ^ 1]) + stored[middle + 1 :]
            )
            harmed = {number for number in harmed if observed.places[number] == place}
        self.harmed[timeline] |= harmed
        self._settle(timeline)
        sequence = sequences[nth % len(sequences)]
        self._read(self.clients[client], timeline, ReadOne("jpeg", sequence), ())

    @rule(timeline=st.sampled_from(TIMELINES), data=st.data())
    def store_or_remove_frames(self, timeline: str, data: st.DataObject) -> None:
        """Change frames without a manifest, as a program without an index does."""
        state = self.observed[timeline].state
        if state.chunks is not None:
            return
        store = self.world.used_by("another program")
        if state.listed:
            store.delete(self.world.keys(timeline, "frames/"))
        else:
            for sequence, picture in data.draw(STORED):
                key = f"{ROOT}/{timeline}/frames/{sequence}.jpg"
                store.put(key, written_row(Written(sequence, picture, 0, ALL.quality)).jpeg)
        self._settle(timeline)

    # Invariants

    @invariant()
    def store_is_consistent(self) -> None:
        self.figures.steps += 1
        assert self.world.violations == [], self.world.violations

    def teardown(self) -> None:
        """Require that everything can be recovered once there are no more faults."""
        assert self.world.violations == [], self.world.violations
        for fault_schedule in (client.fault_schedule for client in self.clients):
            self.figures.faults.update(fault_schedule.total)
        self.figures.commits += self.world.commits
        self.figures.packs += self.world.packs_stored
        for name in TIMELINES:
            self._recover(name)
            self._repack(name)
        stored = {blob.key: self.world.store.get(blob.key) for blob in self.world.store.list(ROOT)}
        assert stored == self.world.blobs, "the log of the store is not what the store holds"

    # Execution

    def _change(self, client: Client, name: str, operation: Operation, plan: Plan) -> None:
        before = self.observed[name]
        timeline = self._timeline(client, name)
        if not isinstance(operation, DeleteLeases | Collect):
            client.remembers.pop(name, None)
        self.world.is_guarded = isinstance(operation, WRITES_ONLY)
        error = self._call_with_faults(
            client, name, plan, lambda: execute(operation, timeline, self._delete_leases)
        )
        self.world.is_guarded = False
        done = Done(operation, error, tuple(self.between))
        after = self.world.observe(name)
        self.figures.endings[_name(error)] += 1
        self._check_change(before, done, after, client)
        self._count_contradictions(before.state, done, after.state)
        if before.state.epoch == after.state.epoch:
            self.figures.replaced += len(before.state.written - after.state.written)
        _check_listed(before.state, done, after.state)
        self._check_what_is_left(name, before, done, after, client)
        self._check_overlays_after(name, [done, *done.between])
        self._settle(name, done)

    def _check_change(
        self, before: ObservedTimeline, done: Done, after: ObservedTimeline, client: Client
    ) -> None:
        how, fired = _name(done.error), client.fault_schedule.fired
        is_disturbed = bool(done.between)
        ends = list(endings(before.state, done))
        if isinstance(done.operation, Repack | AddRenditions) and (
            before.damaged_frames or after.damaged_frames
        ):
            ends.append(Ending(before.state, "CorruptFrame"))
        if self.has_changed_chunks and before.state.layout == "video" and before.rows:
            ends += [Ending(before.state, refusal) for refusal in CHUNK_REFUSALS]
        if isinstance(done.operation, Delete | Repair) and DAMAGE & set(fired):
            # Data that reads differently each time is not treated as damage of the stored blob.
            ends.append(Ending(before.state, "StoreUnavailable"))
        if fired or is_disturbed or isinstance(done.error, Crash):
            assert how in _excused(fired) | {end.how for end in ends} | (
                _excused_by_others(done.operation) if is_disturbed else set()
            ), f"{done} ended with {done.error!r}"
            if done.error is None:
                ends = [end for end in ends if end.how == "finished"]
        else:
            ends = [end for end in ends if end.how == how]
            assert ends, f"{done} ended with {done.error!r}"
        if any(isinstance(one.operation, Delete) for one in done.between):
            # A program that read it before the delete restores a manifest, whole or empty.
            ends += endings(before.state, replace(done, between=()))
            next_state = {(end.state.chunks, end.state.setting) for end in ends}
            assert (after.state.chunks, after.state.setting) in next_state, f"{done}: {after.state}"
            return
        allowed = {_comparable(end.state, before.state) for end in ends}
        found = _comparable(after.state, before.state)
        assert found in allowed, f"{done} made {found} of {before.state}; allowed: {allowed}"

    def _count_contradictions(self, before: State, done: Done, after: State) -> None:
        self.figures.tables_refused += _name(done.error) == "TablesContradicted"
        if isinstance(done.operation, Extract | Append):
            # They plan each new chunk from its tables at first.
            listed = LYING.intersection(after.chunks or ())
            self.figures.replans += before.epoch != after.epoch and bool(listed - after.tables)

    def _check_what_is_left(
        self,
        name: str,
        before: ObservedTimeline,
        done: Done,
        after: ObservedTimeline,
        client: Client,
    ) -> None:
        """Require that an operation that ended an epoch or moved frames removed the old blobs."""
        if done.error is not None or done.between:
            return
        match done.operation:
            case Delete():
                assert self.world.keys(name) == [], "a delete left something behind"
            case Clear():
                left = self.world.left_of_earlier_epochs(name)
                left += [] if self.has_slept else self.world.keys(name, "frames/")
                assert not left, f"a clear left {left}"
            case Repack(layout) if not client.fault_schedule.fired:
                self._check_repacked(layout, before, after)
            case AddRenditions() if not client.fault_schedule.fired:
                lacking = after.rows.keys() - self.world.renditions(name).keys()
                assert not lacking, f"frames {sorted(lacking)} have no rendition"
            case Write() if not client.fault_schedule.fired:
                # If a program died while it moved written frames, they stay in packs.
                if not self._is_moving(name):
                    self._check_public(name, after)
            case Repair() if not client.fault_schedule.fired:
                self._check_public(name, after)
            case Collect() if not client.fault_schedule.fired:
                self._check_public(name, after)
                self._check_collected(name, after)

    def _check_repacked(
        self, layout: Layout, before: ObservedTimeline, after: ObservedTimeline
    ) -> None:
        """All frames are stored in the current layout, and the blobs of the old one are removed."""
        named = {place.key for place in after.places.values()}
        moved = {place.key for place in before.places.values()} - named
        self.figures.repacks += bool(moved)
        self.figures.repacks_of_video += before.state.layout == "video" != layout
        strewn = [
            place for place in after.places.values() if bool(place.offset) != (layout == "packs")
        ]
        assert layout == "video" or after.places.keys() == after.rows.keys()
        assert not strewn, f"repacked into {layout}, {strewn} are elsewhere"
        assert before.damaged_frames or moved.isdisjoint(self.world.blobs), (
            f"of {moved} some is left"
        )

    def _check_public(self, name: str, observed: ObservedTimeline) -> None:
        """Every written frame has its public name, if those are available."""
        if observed.state.layout == "packs" or not observed.state.written:
            return
        stored = self.world.frames(name)
        expected = {
            number: row.jpeg
            for number, row in observed.rows.items()
            if number not in observed.damaged_frames
        }
        others = [number for number in expected if stored.get(number) != expected[number]]
        assert not others, f"other programs read other frames {others}"

    def _is_moving(self, name: str) -> bool:
        """Return True if a program reports that it moves frames to their public names."""
        return any("/moving-" in key for key in self.world.keys(name, "claims/"))

    def _check_collected(self, name: str, observed: ObservedTimeline) -> None:
        """Require that in layout objects, no intact frame remains in a pack."""
        if observed.state.layout == "packs" or not observed.state.written:
            return
        places = [
            observed.places[number]
            for number in observed.rows
            if number not in observed.damaged_frames
        ]
        assert not any(place.offset for place in places), f"{name}: {places}"

    def _read(self, client: Client, name: str, read: Read, plan: Plan) -> None:
        self.figures.reads += 1
        before = self.observed[name]
        timeline = self._timeline(client, name)
        known = [] if looks_again(read) else client.remembers.get(name, [])
        results: list[object] = []
        error = self._call_with_faults(
            client, name, plan, lambda: results.append(read.of(timeline))
        )
        during = [before.state, *self.passing, self.world.observe(name).state]
        ever = [*client.remembers.get(name, []), *during]
        self.figures.endings[_name(error)] += 1
        listed = [state for state in (*known, *during) if state.listed]
        if error is None and listed and self._is_harmed(name, client):
            pass  # the length and CRC of frames that are only listed are not known
        elif error is None:
            current = [self._as_stored(name, state) for state in listed]
            states = [*known, *during, *current]
            assert agrees(read, results[0], states), f"{read} gave {results[0]!r:.300}, of {states}"
        else:
            self._check_reading_failed(name, read, error, client, during, ever)
        is_forgotten = _name(error) == "TimelineCleared" or (error is None and looks_again(read))
        client.remembers[name] = during if is_forgotten else ever
        self._check_overlays_after(name, self.between)
        self._settle(name)

    def _check_reading_failed(
        self,
        name: str,
        read: Read,
        error: BaseException,
        client: Client,
        during: Sequence[State],
        ever: Sequence[State],
    ) -> None:
        excused = _excused(client.fault_schedule.fired)
        if any(read.given(state) == NOT_CACHED for state in during) or (
            isinstance(read, ReadAt) and any(state.written for state in during)
        ):
            excused.add("NotCached")
        if len({state.epoch for state in ever}) > 1:
            excused.add("TimelineCleared")
        now = self.world.observe(name)
        lost = [
            read.needs(rows_of(state)) - set(self.world.frames(name))
            for state in ever
            if state.listed
        ]
        if any(_may_contradict(read, state) for state in ever):
            excused.add("TablesContradicted")
            self.figures.tables_refused += _name(error) == "TablesContradicted"
        if self.has_changed_chunks and any(state.layout == "video" for state in ever):
            excused.update(CHUNK_REFUSALS)
            self.figures.chunks_refused += _name(error) in CHUNK_REFUSALS
        if self.between or any(lost) or read.needs(now.rows) & now.damaged_frames:
            excused.add("CorruptFrame")
        assert _name(error) in excused, f"{read} failed, of {[*ever]}: {error!r}"

    def _is_harmed(self, name: str, client: Client) -> bool:
        """True if fetched parts of a timeline may be anything."""
        is_damaged = bool(DAMAGE & set(client.fault_schedule.fired))
        return is_damaged or bool(self.between) or bool(self.world.observe(name).damaged_frames)

    def _as_stored(self, name: str, state: State) -> State:
        """Return unindexed frames with the bytes that any program has stored since."""
        stored = self.world.frames(name)
        kept = [(number, stored[number]) for number, _ in state.listed if number in stored]
        return replace(state, listed=frozenset(kept))

    def _save_overlay(
        self, client: Client, name: str, sequence: int, overlay: str, png: bytes, plan: Plan
    ) -> None:
        # A separate handle, so that the client's own does not learn about the timeline.
        store = self._timeline(client, name)._store  # noqa: SLF001 -- the store whose requests fail
        stage = Overlays(store, name, job_id="run", stage="draw")
        error = self._call_with_faults(
            client, name, plan, lambda: stage.save(sequence, {overlay: png})
        )
        assert _name(error) in _excused(client.fault_schedule.fired) | {"finished"}
        stored = self.world.blobs.get(_overlay_key(name, sequence, overlay))
        allowed = {png} if error is None else {png, self.overlays[name].get((sequence, overlay))}
        assert stored in allowed
        if stored is not None:
            self.overlays[name][sequence, overlay] = stored
        self._settle(name)

    def _check_overlays_after(self, name: str, done: Sequence[Done]) -> None:
        """Require that only a delete removes overlays, and that a successful one removes all."""
        deletes = [one for one in done if isinstance(one.operation, Delete)]
        if not deletes:
            return
        kept = {
            place: png
            for place, png in self.overlays[name].items()
            if _overlay_key(name, *place) in self.world.blobs
        }
        assert not kept or all(delete.error is not None for delete in deletes)
        self.overlays[name] = kept

    def _settle(self, name: str, done: Done | None = None) -> None:
        """Accept the state of the store after a check that it is allowed."""
        before, after = self.observed[name], self.world.observe(name)
        allowed = self.harmed[name]
        if self.slept_from is not None and not (done and _only_writes(done)):
            # A program that was delayed may store and delete its blobs later.
            for client in self.clients:
                allowed |= self.world.touched_frames(name, since=self.slept_from, by=client.name)
        assert after.damaged_frames <= allowed, (
            f"frames {sorted(after.damaged_frames - allowed)} came to harm"
        )
        faulty = self.world.faulty_renditions(name)
        assert not faulty, f"renditions of frames {faulty} came to harm"
        self.figures.renditions += bool(self.world.renditions(name))
        self.harmed[name] = allowed & set(after.damaged_frames)
        self.figures.most_harmed = max(self.figures.most_harmed, len(after.damaged_frames))
        kept = {_overlay_key(name, *place): png for place, png in self.overlays[name].items()}
        assert kept == {key: self.world.blobs[key] for key in self.world.keys(name, "overlays/")}
        if after.state != before.state:
            for client in self.clients:
                if name in client.remembers:
                    client.remembers[name].append(after.state)
        self.observed[name] = after

    def _call_with_faults(
        self, client: Client, name: str, plan: Plan, call: Callable[[], object]
    ) -> FrameCacheError | Crash | None:
        """Make a call while requests fail; return its typed error, or its crash."""
        self.between, self.passing, self.slept_from, self.current = [], [], None, name
        client.fault_schedule.arm(plan)
        try:
            call()
        except FrameCacheError as error:
            return error
        except Crash as death:
            client.remembers.clear()
            client.timelines = {
                one: Timeline(timeline._store, one)  # noqa: SLF001 -- the store whose requests fail
                for one, timeline in client.timelines.items()
            }
            return death
        finally:
            client.fault_schedule.disarm()
        return None

    def _disturb(self, operation: Operation) -> None:
        """Execute an operation of another program during a call."""
        self.figures.disturbances += 1
        before, start = self.world.observe(self.current), len(self.world.log)
        timeline = Timeline(self.world.used_by(OTHER), self.current)
        self.world.is_guarded &= isinstance(operation, WRITES_ONLY)
        error: FrameCacheError | None = None
        try:
            execute(operation, timeline, self._delete_leases)
        except FrameCacheError as failure:
            error = failure
        after = self.world.observe(self.current)
        self.between.append(Done(operation, error))
        self.passing += [before.state, after.state]
        if before != after and self.slept_from is None:
            self.slept_from, self.has_slept = start, True

    def _delete_leases(self, name: str) -> None:
        self.world.used_by(OTHER).delete(self.world.keys(name, "claims/"))

    def _recover(self, name: str) -> None:
        """Complete a timeline, find all damage, and repair the frames that have a chunk."""
        timeline = Timeline(self.world.used_by(OTHER), name)
        observed = self.world.observe(name)
        if observed.state.wrong and observed.state.layout == "video":
            timeline.rebuild(workers=1)
            observed = self.world.observe(name)
        if observed.state.chunks:
            every, quality = observed.state.setting or ALL
            clips = [chunk_url(chunk) for chunk in observed.state.chunks]
            timeline.extract(clips, every=every, quality=quality, workers=1)
            assert timeline.complete
        observed = self.world.observe(name)
        if observed.state.chunks is None:
            return
        found = timeline.verify(workers=1)
        damaged = {one.sequence for one in found.findings if one.kind in DAMAGE_FOUND}
        if self.has_slept:
            damaged -= {None}  # a manifest that outlived a delete may name an index file
        assert damaged == observed.damaged_frames, (
            f"{found.findings} are not {observed.damaged_frames}"
        )
        assert timeline.verify(repair=True, workers=1).ok == (
            not observed.damaged_frames or bool(observed.state.chunks)
        )
        repaired = self.world.observe(name)
        assert repaired.state.is_complete or not observed.rows
        assert repaired.damaged_frames == (
            frozenset() if observed.state.chunks else observed.damaged_frames
        )
        sequences = [
            sequence for sequence in repaired.rows if sequence not in repaired.damaged_frames
        ]
        expected = [repaired.rows[sequence].jpeg for sequence in sequences]
        assert list(timeline.jpegs(sequences)) == expected
        renditions = self.world.renditions(name)
        assert list(timeline.jpegs(renditions, max_side=RENDITION)) == list(renditions.values())

    def _repack(self, name: str) -> None:
        """Repack, and require that intact frames are moved unchanged."""
        timeline = Timeline(self.world.used_by(OTHER), name)
        before = self.world.observe(name)
        if before.state.chunks is None:
            return
        layout = next(one for one in LAYOUTS if one != before.state.layout)  # video into objects
        try:
            timeline.repack(layout, workers=1)
        except CorruptFrame:
            assert before.damaged_frames, "a repack met damage that is not there"
            return
        after = self.world.observe(name)
        assert after.state == replace(before.state, layout=layout)
        assert after.damaged_frames == before.damaged_frames
        self._check_repacked(layout, before, after)
        sequences = [sequence for sequence in after.rows if sequence not in after.damaged_frames]
        assert list(timeline.jpegs(sequences)) == [after.rows[one].jpeg for one in sequences]

    def _timeline(self, client: Client, name: str) -> Timeline:
        if client is self.clients[FRESH]:
            self.clients[FRESH] = client
            if name == "video":
                forget_chunks()
            store = client.timelines[name]._store  # noqa: SLF001 -- the store whose requests fail
            client.timelines[name] = Timeline(store, name)
            client.remembers.pop(name, None)
        return client.timelines[name]

    def _client(self, name: str, *, seed: int) -> Client:
        fault_schedule = FaultSchedule(self._disturb)
        store = faulty_store(self.world, name, fault_schedule, seed=seed)
        return Client(name, fault_schedule, {one: Timeline(store, one) for one in TIMELINES})


def run_model(
    examples: int, steps: int, *, seed: int | None, phases: Sequence[Phase] = (Phase.generate,)
) -> Figures:
    """Try to find a run of the machine that breaks a promise; raises what it found.

    Pools have no threads, so that findings can be reproduced.

    Args:
        examples: how many stores to try.
        steps: how many steps each takes.
        seed: of what is tried; None: another every time.
        phases: whether what is found is made smaller, which takes minutes.
    """
    figures = Figures()
    machine = seeded(random.getrandbits(64) if seed is None else seed)(
        type("Machine", (TimelineMachine,), {"figures": figures})
    )
    with at_once():
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                phases=phases,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
                print_blob=True,
            ),
        )
    return figures


def _excused(fired: Sequence[Fault]) -> set[str]:
    """The errors that faults are allowed to cause."""
    excused = {"StoreUnavailable"} if set(fired) - DAMAGE else set()
    # A program dies only where that is planned.
    return excused | {Crash.__name__} | ({"CorruptFrame"} if DAMAGE & set(fired) else set())


def _excused_by_others(operation: Operation) -> set[str]:
    """Return the errors that other programs may cause during an operation."""
    # If two programs move or repair a part, one has to try again. So does one that replaces
    # frames, if another overwrote a blob that it had created and not yet committed.
    is_replacing = isinstance(operation, Write) and operation.on_conflict == "replace"
    is_told = is_replacing or isinstance(operation, Repack | AddRenditions)
    # Others may rebuild it into a layout without stored frames.
    is_refused = isinstance(operation, AddRenditions)
    return {
        *REFUSALS,
        *(("StoreUnavailable",) if is_told else ()),
        *(("InvalidValue",) if is_refused else ()),
    }


def _may_contradict(read: Read, state: State) -> bool:
    """Return True if a read needs frames of a group in which the sample tables lie."""
    if state.layout != "video" or not state.contradicts_rows:
        return False
    assert state.setting is not None
    rows = [
        row
        for chunk in state.wrong
        for segment in segments_of(chunk)
        for row in rows_of_segment(state.chunks or (), state.setting, segment, state.wrong)
    ]
    return not read.needs(rows_of(state)).isdisjoint(row.sequence for row in rows)


def _only_writes(done: Done) -> bool:
    """True if only writes overlapped: none of these may harm another's frames."""
    return all(isinstance(one.operation, WRITES_ONLY) for one in (done, *done.between))


def _name(error: BaseException | None) -> str:
    return "finished" if error is None else type(error).__name__


def _comparable(state: State, before: State) -> object:
    is_same_epoch = state.chunks is not None and state.epoch == before.epoch
    setting = None if state.chunks is None else state.setting
    layout = None if state.chunks is None else state.layout
    begun = state.chunks is not None and state.begun
    planned = (state.whole, state.tables) if state.chunks else None
    return is_same_epoch, state.chunks, setting, layout, state.cached, planned, state.written, begun


def _check_listed(before: State, done: Done, after: State) -> None:
    """Require that only a clear or a delete removes unindexed frames, and nothing adds any."""
    assert after.listed <= before.listed, f"{done} left frames that nothing describes"
    all_done = (done, *done.between)
    if after.chunks is not None and any(_adopts(one.operation) for one in all_done):
        return
    if not any(isinstance(one.operation, Clear | Delete) for one in all_done):
        assert after.listed == before.listed, f"{done} removed frames of another program"
    elif done.error is None and isinstance(done.operation, Clear | Delete):
        assert not after.listed, f"{done} left frames behind"


def _adopts(operation: Operation) -> bool:
    """Return True if an operation creates a manifest for frames of another program."""
    return isinstance(operation, Write) and operation.on_conflict != "raise"


def _overlay_key(timeline: str, sequence: int, name: str) -> str:
    return f"{ROOT}/{timeline}/overlays/run/draw/{sequence}_{name}.png"
