"""Programs that use one store which fails them, checked against a plain model after every step."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

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
from model_at_once import at_once
from model_calls import carry_out
from model_choices import BEGINNINGS, CHANGES, FAULTS, LAYOUTS, READINGS, REWRITES, STORED, Plan
from model_expected import SIZE, clip, rows_of, written_row
from model_plain import (
    ALL,
    REFUSALS,
    Clear,
    Collect,
    Delete,
    Done,
    Ending,
    Layout,
    LoseClaims,
    Operation,
    Repack,
    Repair,
    State,
    Write,
    Written,
    endings,
)
from model_reads import NOT_CACHED, Read, ReadAt, agrees, looks_again
from model_world import DAMAGE, DECAY, ROOT, Seen, Suffering, World, suffering_store

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
"""Operations that harm no frame that is committed, whatever others of them do meanwhile."""
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
    suffering: Suffering
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
        self.seen = {name: Seen(State()) for name in TIMELINES}
        self.harmed: dict[str, set[int]] = {name: set() for name in TIMELINES}
        self.overlays: dict[str, dict[tuple[int, str], bytes]] = {name: {} for name in TIMELINES}
        self.between: list[Done] = []
        self.passing: list[State] = []
        self.slept_from: int | None = None
        self.has_slept = False
        self.current = "video"

    # What happens

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Mostly with frames: of a timeline that has none there is little to read or to harm."""
        for client, (timeline, operations) in zip(self.clients, BEGINNINGS.items(), strict=False):
            self._change(client, timeline, data.draw(operations), ())

    @rule(client=st.integers(0, CLIENTS - 1), data=st.data())
    def change(self, client: int, data: st.DataObject) -> None:
        timeline, operation, plan = data.draw(CHANGES)
        self._change(self.clients[client], timeline, operation, plan)

    @rule(client=st.integers(0, CLIENTS - 1), data=st.data())
    def write_again(self, client: int, data: st.DataObject) -> None:
        """Frames are replaced and kept often: of most that is possible little is to do with it."""
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

    @rule(timeline=st.sampled_from(TIMELINES), nth=st.integers(0, 20), whole=st.booleans())
    def damage_frame(self, timeline: str, nth: int, whole: bool) -> None:  # noqa: FBT001
        """The blob of a stored frame is lost, or one byte of the frame is another."""
        seen = self.seen[timeline]
        sequences = sorted(seen.rows)
        if not sequences or seen.state.listed:
            return
        place = seen.places[sequences[nth % len(sequences)]]
        store, stored = self.world.used_by(DECAY), self.world.blobs.get(place.key)
        # A byte of a pack is one frame's; a pack that is lost takes all of its frames along.
        harmed = {number for number, one in seen.places.items() if one.key == place.key}
        if whole or stored is None:
            store.delete([place.key])
        else:
            middle = place.offset + place.size_bytes // 2
            store.put(
                place.key, stored[:middle] + bytes([stored[middle] ^ 1]) + stored[middle + 1 :]
            )
            harmed = {number for number in harmed if seen.places[number] == place}
        self.harmed[timeline] |= harmed
        self._settle(timeline)

    @rule(timeline=st.sampled_from(TIMELINES), data=st.data())
    def store_or_remove_frames(self, timeline: str, data: st.DataObject) -> None:
        """So does a program that does not know indexes, where there is no manifest."""
        state = self.seen[timeline].state
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

    # What must hold

    @invariant()
    def nothing_is_amiss(self) -> None:
        self.figures.steps += 1
        assert self.world.violations == [], self.world.violations

    def teardown(self) -> None:
        """Once nothing fails any more, everything can be had again."""
        for suffering in (client.suffering for client in self.clients):
            self.figures.faults.update(suffering.total)
        self.figures.commits += self.world.commits
        self.figures.packs += self.world.packs_stored
        for name in TIMELINES:
            self._recover(name)
            self._repack(name)
        stored = {blob.key: self.world.store.get(blob.key) for blob in self.world.store.list(ROOT)}
        assert stored == self.world.blobs, "the log of the store is not what the store holds"

    # How

    def _change(self, client: Client, name: str, operation: Operation, plan: Plan) -> None:
        before = self.seen[name]
        timeline = self._timeline(client, name)
        if not isinstance(operation, LoseClaims | Collect):
            client.remembers.pop(name, None)
        self.world.is_guarded = isinstance(operation, WRITES_ONLY)
        error = self._suffer(
            client, name, plan, lambda: carry_out(operation, timeline, self._lose_claims)
        )
        self.world.is_guarded = False
        done = Done(operation, error, tuple(self.between))
        after = self.world.look(name)
        self.figures.endings[_name(error)] += 1
        self._check_change(before, done, after, client)
        if before.state.epoch == after.state.epoch:
            self.figures.replaced += len(before.state.written - after.state.written)
        _check_listed(before.state, done, after.state)
        self._check_what_is_left(name, before, done, after, client)
        self._check_overlays_after(name, [done, *done.between])
        self._settle(name, done)

    def _check_change(self, before: Seen, done: Done, after: Seen, client: Client) -> None:
        how, fired = _name(done.error), client.suffering.fired
        is_disturbed = bool(done.between)
        ends = list(endings(before.state, done))
        if isinstance(done.operation, Repack) and (before.unsound or after.unsound):
            ends.append(Ending(before.state, "CorruptFrame"))
        if isinstance(done.operation, Delete | Repair) and DAMAGE & set(fired):
            # What reads differently each time is not taken for damage where it lies.
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
            described = {(end.state.chunks, end.state.setting) for end in ends}
            assert (after.state.chunks, after.state.setting) in described, f"{done}: {after.state}"
            return
        allowed = {_comparable(end.state, before.state) for end in ends}
        found = _comparable(after.state, before.state)
        assert found in allowed, f"{done} made {found} of {before.state}; allowed: {allowed}"

    def _check_what_is_left(
        self, name: str, before: Seen, done: Done, after: Seen, client: Client
    ) -> None:
        """An operation that ended an epoch, removed or moved frames has removed the old blobs."""
        if done.error is not None or done.between:
            return
        match done.operation:
            case Delete():
                assert self.world.keys(name) == [], "a delete left something behind"
            case Clear():
                left = self.world.left_of_earlier_epochs(name)
                left += [] if self.has_slept else self.world.keys(name, "frames/")
                assert not left, f"a clear left {left}"
            case Repack(layout) if not client.suffering.fired:
                self._check_repacked(layout, before, after)
            case Write() if not client.suffering.fired:
                # Where a program died while it moved frames, those of writes stay in packs.
                if not self._is_moving(name):
                    self._check_public(name, after)
            case Repair() if not client.suffering.fired:
                self._check_public(name, after)
            case Collect() if not client.suffering.fired:
                self._check_public(name, after)
                self._check_collected(name, after)

    def _check_repacked(self, layout: Layout, before: Seen, after: Seen) -> None:
        """All frames are stored in the current layout, and the blobs of the old one are removed."""
        named = {place.key for place in after.places.values()}
        moved = {place.key for place in before.places.values()} - named
        self.figures.repacks += bool(moved)
        strewn = [
            place for place in after.places.values() if bool(place.offset) != (layout == "packs")
        ]
        assert not strewn, f"repacked into {layout}, {strewn} lie otherwise"
        assert before.unsound or moved.isdisjoint(self.world.blobs), f"of {moved} some is left"

    def _check_public(self, name: str, seen: Seen) -> None:
        """Every written frame has its public name, if those are available."""
        if seen.state.layout == "packs" or not seen.state.written:
            return
        stored = self.world.frames(name)
        expected = {
            number: row.jpeg for number, row in seen.rows.items() if number not in seen.unsound
        }
        others = [number for number in expected if stored.get(number) != expected[number]]
        assert not others, f"other programs read other frames {others}"

    def _is_moving(self, name: str) -> bool:
        """Return True if a program reports that it moves frames to their public names."""
        return any("/moving-" in key for key in self.world.keys(name, "claims/"))

    def _check_collected(self, name: str, seen: Seen) -> None:
        """No intact frame is in a pack where each is to be a blob."""
        if seen.state.layout == "packs" or not seen.state.written:
            return
        places = [seen.places[number] for number in seen.rows if number not in seen.unsound]
        assert not any(place.offset for place in places), f"{name}: {places}"

    def _read(self, client: Client, name: str, read: Read, plan: Plan) -> None:
        self.figures.reads += 1
        before = self.seen[name]
        timeline = self._timeline(client, name)
        known = [] if looks_again(read) else client.remembers.get(name, [])
        results: list[object] = []
        error = self._suffer(client, name, plan, lambda: results.append(read.of(timeline)))
        during = [before.state, *self.passing, self.world.look(name).state]
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
        excused = _excused(client.suffering.fired)
        if any(read.given(state) == NOT_CACHED for state in during) or (
            isinstance(read, ReadAt) and any(state.written for state in during)
        ):
            excused.add("NotCached")
        if len({state.epoch for state in ever}) > 1:
            excused.add("TimelineCleared")
        now = self.world.look(name)
        lost = [
            read.needs(rows_of(state)) - set(self.world.frames(name))
            for state in ever
            if state.listed
        ]
        if self.between or any(lost) or read.needs(now.rows) & now.unsound:
            excused.add("CorruptFrame")
        assert _name(error) in excused, f"{read} failed, of {[*ever]}: {error!r}"

    def _is_harmed(self, name: str, client: Client) -> bool:
        """True if fetched parts of a timeline may be anything."""
        is_damaged = bool(DAMAGE & set(client.suffering.fired))
        return is_damaged or bool(self.between) or bool(self.world.look(name).unsound)

    def _as_stored(self, name: str, state: State) -> State:
        """Frames that were listed before, as any program has stored them since."""
        stored = self.world.frames(name)
        kept = [(number, stored[number]) for number, _ in state.listed if number in stored]
        return replace(state, listed=frozenset(kept))

    def _save_overlay(
        self, client: Client, name: str, sequence: int, overlay: str, png: bytes, plan: Plan
    ) -> None:
        # A handle of its own: what saving learns of the timeline, the client does not read by.
        store = self._timeline(client, name)._store  # noqa: SLF001 -- the one it suffers from
        stage = Overlays(store, name, job_id="run", stage="draw")
        error = self._suffer(client, name, plan, lambda: stage.save(sequence, {overlay: png}))
        assert _name(error) in _excused(client.suffering.fired) | {"finished"}
        stored = self.world.blobs.get(_overlay_key(name, sequence, overlay))
        allowed = {png} if error is None else {png, self.overlays[name].get((sequence, overlay))}
        assert stored in allowed
        if stored is not None:
            self.overlays[name][sequence, overlay] = stored
        self._settle(name)

    def _check_overlays_after(self, name: str, done: Sequence[Done]) -> None:
        """Only a delete takes overlays along, and one that succeeded takes all."""
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
        """Take what the store holds for true, once it is known to be allowed."""
        before, after = self.seen[name], self.world.look(name)
        allowed = self.harmed[name]
        if self.slept_from is not None and not (done and _only_writes(done)):
            # A program that slept while others worked may store and delete its blobs since.
            for client in self.clients:
                allowed |= self.world.touched_frames(name, since=self.slept_from, by=client.name)
        assert after.unsound <= allowed, f"frames {sorted(after.unsound - allowed)} came to harm"
        self.harmed[name] = allowed & set(after.unsound)
        self.figures.most_harmed = max(self.figures.most_harmed, len(after.unsound))
        kept = {_overlay_key(name, *place): png for place, png in self.overlays[name].items()}
        assert kept == {key: self.world.blobs[key] for key in self.world.keys(name, "overlays/")}
        if after.state != before.state:
            for client in self.clients:
                if name in client.remembers:
                    client.remembers[name].append(after.state)
        self.seen[name] = after

    def _suffer(
        self, client: Client, name: str, plan: Plan, call: Callable[[], object]
    ) -> FrameCacheError | Crash | None:
        """Make a call while requests go wrong; its error, which is a typed one, or its death."""
        self.between, self.passing, self.slept_from, self.current = [], [], None, name
        client.suffering.arm(plan)
        try:
            call()
        except FrameCacheError as error:
            return error
        except Crash as death:
            client.remembers.clear()
            client.timelines = {
                one: Timeline(timeline._store, one)  # noqa: SLF001 -- the one it suffers from
                for one, timeline in client.timelines.items()
            }
            return death
        finally:
            client.suffering.disarm()
        return None

    def _disturb(self, operation: Operation) -> None:
        """Another program does something during a call."""
        self.figures.disturbances += 1
        before, start = self.world.look(self.current), len(self.world.log)
        timeline = Timeline(self.world.used_by(OTHER), self.current)
        self.world.is_guarded &= isinstance(operation, WRITES_ONLY)
        error: FrameCacheError | None = None
        try:
            carry_out(operation, timeline, self._lose_claims)
        except FrameCacheError as failure:
            error = failure
        after = self.world.look(self.current)
        self.between.append(Done(operation, error))
        self.passing += [before.state, after.state]
        if before != after and self.slept_from is None:
            self.slept_from, self.has_slept = start, True

    def _lose_claims(self, name: str) -> None:
        self.world.used_by(OTHER).delete(self.world.keys(name, "claims/"))

    def _recover(self, name: str) -> None:
        """Complete a timeline, see all that is damaged, and repair what has a chunk."""
        timeline = Timeline(self.world.used_by(OTHER), name)
        seen = self.world.look(name)
        if seen.state.chunks:
            every, quality = seen.state.setting or ALL
            clips = [clip(chunk) for chunk in seen.state.chunks]
            timeline.extract(clips, every=every, quality=quality, workers=1)
            assert timeline.complete
        seen = self.world.look(name)
        if seen.state.chunks is None:
            return
        found = timeline.verify(workers=1)
        damaged = {one.sequence for one in found.findings if one.kind in DAMAGE_FOUND}
        if self.has_slept:
            damaged -= {None}  # a description that outlived a delete may name an index file
        assert damaged == seen.unsound, f"{found.findings} are not {seen.unsound}"
        assert timeline.verify(repair=True, workers=1).ok == (
            not seen.unsound or bool(seen.state.chunks)
        )
        mended = self.world.look(name)
        assert mended.state.is_complete or not seen.rows
        assert mended.unsound == (frozenset() if seen.state.chunks else seen.unsound)
        sequences = [sequence for sequence in mended.rows if sequence not in mended.unsound]
        expected = [mended.rows[sequence].jpeg for sequence in sequences]
        assert list(timeline.jpegs(sequences)) == expected

    def _repack(self, name: str) -> None:
        """Frames that are sound can be moved, and are the same wherever they lie."""
        timeline = Timeline(self.world.used_by(OTHER), name)
        before = self.world.look(name)
        if before.state.chunks is None:
            return
        layout = next(one for one in LAYOUTS if one != before.state.layout)
        try:
            timeline.repack(layout, workers=1)
        except CorruptFrame:
            assert before.unsound, "a repack met damage that is not there"
            return
        after = self.world.look(name)
        assert after.state == replace(before.state, layout=layout)
        assert after.unsound == before.unsound
        self._check_repacked(layout, before, after)
        sequences = [sequence for sequence in after.rows if sequence not in after.unsound]
        assert list(timeline.jpegs(sequences)) == [after.rows[one].jpeg for one in sequences]

    def _timeline(self, client: Client, name: str) -> Timeline:
        if client is self.clients[FRESH]:
            self.clients[FRESH] = client
            store = client.timelines[name]._store  # noqa: SLF001 -- the one it suffers from
            client.timelines[name] = Timeline(store, name)
            client.remembers.pop(name, None)
        return client.timelines[name]

    def _client(self, name: str, *, seed: int) -> Client:
        suffering = Suffering(self._disturb)
        store = suffering_store(self.world, name, suffering, seed=seed)
        return Client(name, suffering, {one: Timeline(store, one) for one in TIMELINES})


def run_model(
    examples: int, steps: int, *, seed: int | None, phases: Sequence[Phase] = (Phase.generate,)
) -> Figures:
    """Try to find a run of the machine that breaks a promise; raises what it found.

    Pools have no threads, so that whatever is found happens again.

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
    """The errors that others in its midst are allowed to cause."""
    # Of two that move or repair a part, one has to try again. So does one that replaces, if it
    # slept for so long that another stored over what it had created, and not committed.
    is_replacing = isinstance(operation, Write) and operation.on_conflict == "replace"
    is_told = is_replacing or isinstance(operation, Repack)
    return {*REFUSALS, *(("StoreUnavailable",) if is_told else ())}


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
    return is_same_epoch, state.chunks, setting, layout, state.cached, state.written, begun


def _check_listed(before: State, done: Done, after: State) -> None:
    """Nothing leaves frames that nothing describes, and only a clear or a delete takes them."""
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
