"""Defects put into the protocol on purpose, to see that the proofs would find them.

Each is a substitution that lasts for one check. The same check must pass on framecache as it is,
and must meet a violation where the defect is.
"""

import json
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from types import TracebackType
from typing import Final

import pytest
from invariants import PREFIX, TIMELINE, Violation, look, pictures, require, restore
from operations import BOTH, OPERATIONS, chunks
from processes import Process
from test_crash import Matrix

from framecache import ExtractReport, SettingsConflict, StoreUnavailable, Timeline, TimelineCleared
from framecache._core import keys
from framecache._core.manifest import ChunkEntry, Manifest, new_write_id
from framecache._index import (
    Index,
    Snapshot,
    commit_repair,
    committed_parts,
    create_verified,
    current_manifest,
    ensure_current,
    load_snapshot_at,
    parquet,
    try_commit_manifest,
    update_manifest,
)
from framecache._index.blobs import Decode
from framecache._index.columns import Columns
from framecache._index.lease import LeaseManager, LeaseWatcher
from framecache._ingest import deletion
from framecache._ingest.epochs import RunningEpoch, is_active
from framecache._ingest.work_queue import ChunkQueue
from framecache._layouts.encoding import EncoderPool, FramePosition
from framecache._layouts.objects import ObjectStorage
from framecache._read import FrameSource
from framecache.model import Layout
from framecache.store import BlobExists, Store, open_store
from framecache.testing import Action, Crash, Fault, FaultyStore, HookedStore
from proving import Proof

Check = Callable[[Store], object]


@dataclass(frozen=True)
class Defect:
    """Something wrong, and what finds it."""

    name: str
    put_in: Callable[[pytest.MonkeyPatch], object]
    check: Check
    found_by: str
    """Pattern of the violation's message."""


# The checks


@cache
def every_crash_of(name: str) -> Check:
    """The short crash proof of an operation."""

    def check(store: Store) -> None:
        matrix = Matrix(next(one for one in OPERATIONS if one.name == name), store)
        for point in matrix.points_of("first", matrix.before):
            matrix.leave("first", matrix.before, point)

    return check


def sleeping(
    store: Store, actions: set[Action], within: str, meanwhile: Callable[[], object]
) -> Store:
    """A store of a program that sleeps before one request, while another does something."""
    left = [meanwhile]

    def before(action: Action, key: str) -> None:
        if action in actions and within in key and left:
            with Process("other").running():
                left.pop()()

    return HookedStore(store, before=before)


def extract(
    store: Store, *, count: int = 2, quality: int = 85, layout: Layout | None = None
) -> ExtractReport:
    timeline = Timeline(store, TIMELINE)
    return timeline.extract(chunks(count), quality=quality, layout=layout, workers=1)


def one_of_two_commits_a_chunk(store: Store, *, layout: Layout | None = None) -> None:
    """A program loses its lease as it commits; another extracts everything in its place."""
    reports: list[ExtractReport] = []

    def extract_all() -> None:
        reports.append(extract(store, layout=layout))

    slow = sleeping(store, {"create"}, "/index/", extract_all)
    with Process("first").running():
        reports.append(extract(slow, layout=layout))
    committed = [report.chunks_extracted for report in reports]
    require(sum(committed) == 2, f"of 2 chunks, two programs say they committed {committed}")


def what_is_done_in_the_midst_of_another_stays(store: Store) -> None:
    """A program with other settings sleeps before it ends the epoch; another is done."""
    die(store, "put", "/frames/")
    store.delete([blob.key for blob in store.list(f"{PREFIX}claims/")])
    # With one chunk no manifest names a compaction, which would hinder the other as well.
    slow = sleeping(store, {"create"}, "/timeline/", lambda: extract(store, count=1))
    with Process("first").running(), suppress(SettingsConflict):
        extract(slow, count=1, quality=60)
    document = look(store).document
    require(document and document["jpeg"]["quality"] == 85, "what was done is gone")


def what_is_begun_outlives_its_program(store: Store) -> None:
    """A program dies with its first commit; one that wants other settings comes later."""
    die(store, "create", "/index/")
    store.delete([blob.key for blob in store.list(f"{PREFIX}claims/")])
    require_refused(store, "what was begun is ended")


def a_sign_of_life_keeps_others_off(store: Store) -> None:
    """A program that has begun nothing yet acquires a lease while another watches."""
    die(store, "put", "/frames/")
    left = [blob.key for blob in store.list(f"{PREFIX}claims/")]

    def live_on(action: Action, key: str) -> None:
        if action == "list" and "/claims/" in key and left:
            store.put(left.pop().replace("-0.json", "-1.json"), b"{}")

    require_refused(HookedStore(store, after=live_on), "a living program is ended")


def require_refused(store: Store, otherwise: str) -> None:
    """Extract with other settings, which must not be done."""
    try:
        with Process("other").running():
            extract(store, quality=60)
    except SettingsConflict:
        return
    raise Violation(otherwise)


def die(store: Store, at: Action, within: str) -> None:
    """Extract, and die at the first such request."""
    died: list[str] = []

    def before(action: Action, key: str) -> None:
        if died or (action == at and within in key):
            died.append(key)
            raise Crash

    with Process("dying").running(), pytest.raises(Crash):
        extract(HookedStore(store, before=before), count=1)


def a_conflict_is_no_existence(store: Store) -> None:
    """S3 answers 409 to a create although nothing is stored."""
    left = [Fault.CONFLICT]

    def schedule(action: Action, key: str) -> Fault | None:
        return left.pop() if left and action == "create" and "/index/" in key else None

    try:
        extract(FaultyStore(store, schedule))
    except StoreUnavailable as error:
        raise Violation(f"a conflict is taken for existence: {error}") from error
    look(store)


def damaged_frames_are_refused(store: Store) -> None:
    extract(store)
    frames = [f"{PREFIX}frames/{sequence}.jpg" for sequence in range(4)]
    flipped = bytearray(store.get(frames[0]))
    flipped[len(flipped) // 2] ^= 1
    store.put(frames[0], bytes(flipped))
    store.put(frames[1], store.get(frames[1])[:-2])
    store.put(frames[2], store.get(frames[3]))
    damaged = frozenset(range(3))
    require(look(store, damaged=damaged).refused == damaged, "a damaged frame is given")


def nothing_is_committed_into_a_later_timeline(store: Store) -> None:
    """A program sleeps as it commits; the timeline is deleted and begun by another, which dies."""

    def begin_anew() -> None:
        Timeline(store, TIMELINE).delete()

        def die_before_a_frame(action: Action, _key: str) -> None:
            if action == "put":
                raise Crash

        with pytest.raises(Crash):
            extract(HookedStore(store, before=die_before_a_frame))

    with Process("first").running(), suppress(TimelineCleared):
        extract(sleeping(store, {"create"}, "/index/", begin_anew), quality=60)
    look(store)


def frames_of_a_later_epoch_stay(store: Store) -> None:
    """A program sleeps between two chunks while another rebuilds the timeline."""

    def rebuild() -> None:
        Timeline(store, TIMELINE).rebuild(quality=60, workers=1)

    with Process("first").running(), suppress(TimelineCleared):
        extract(sleeping(store, {"create"}, "/000001-", rebuild))
    seen = look(store)
    require(seen.frames == BOTH and seen.is_complete, "the rebuilt timeline is not complete")


def what_two_programs_wrote_is_there(store: Store) -> None:
    """A program sleeps as it describes what it wrote, while another writes."""

    def write(target: Store, sequences: range) -> None:
        Timeline(target, TIMELINE).write(pictures(sequences), workers=1)

    slow = sleeping(
        store,
        {"create", "put"},
        keys.manifest(TIMELINE, 2),
        lambda: write(store, range(3, 6)),
    )
    with Process("first").running():
        write(slow, range(3))
    seen = look(store)
    require(seen.frames == frozenset(range(6)), f"of 6 written frames, {sorted(seen.frames)} stay")


def what_a_lost_description_named_counts_no_more(store: Store) -> None:
    """A chunk was appended, and is in the damaged description only; another takes its place."""
    first, second, third = chunks(3)
    timeline = Timeline(store, TIMELINE)
    timeline.extract(first, workers=1)
    timeline.append(second, workers=1)
    for version in (3, 4):  # the append's, and the compaction's after it
        store.put(keys.manifest(TIMELINE, version), b"")
    timeline.verify(repair=True, workers=1)
    timeline.append(third, workers=1)
    require(look(store).is_complete, "the timeline is not complete")


# The defects


def everywhere(
    patch: pytest.MonkeyPatch,
    original: Callable[..., object],
    substitute: Callable[..., object],
) -> None:
    """Put a function in the place of another, in every module that uses it."""
    modules = [module for name, module in sys.modules.items() if name.startswith("framecache")]
    users = [module for module in modules if vars(module).get(original.__name__) is original]
    assert users
    for module in users:
        patch.setattr(module, original.__name__, substitute)


def commit_before_frames_are_acknowledged(patch: pytest.MonkeyPatch) -> None:
    begin, end = ObjectStorage.__init__, EncoderPool.__exit__
    unstored: list[Callable[[], None]] = []

    def begin_hasty(
        self: ObjectStorage,
        timeline_id: str,
        encoders: EncoderPool,
        *,
        put: Callable[[str, bytes], None],
        on_stored: Callable[[FramePosition], None],
    ) -> None:
        def store_later(key: str, jpeg: bytes) -> None:
            unstored.append(partial(put, key, jpeg))

        begin(self, timeline_id, encoders, put=store_later, on_stored=on_stored)

    def end_late(
        self: EncoderPool,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        end(self, kind, error, traceback)
        waiting, unstored[:] = [*unstored], []
        for store_one in waiting:
            store_one()

    patch.setattr(ObjectStorage, "__init__", begin_hasty)
    patch.setattr(EncoderPool, "__exit__", end_late)


def have_no_write_id(patch: pytest.MonkeyPatch) -> None:
    everywhere(patch, new_write_id, lambda: "")
    encode = parquet.encode

    def encode_alike(rows: Columns, metadata: bytes, _: object = None) -> bytes:
        return encode(rows, metadata)  # arro3 stores several entries of metadata in any order

    patch.setattr(parquet, "encode", encode_alike)


def skip_the_crc(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FrameSource, "_find_mismatch", lambda *_: "")


def take_a_claim_for_a_part(patch: pytest.MonkeyPatch) -> None:
    pass_over_committed = ChunkQueue._skip_committed  # noqa: SLF001 -- the place of the defect

    def pass_over_claimed(self: ChunkQueue, entries: Sequence[ChunkEntry]) -> None:
        pass_over_committed(self, entries)
        prefix = keys.leases_prefix(TIMELINE, self._manifest.epoch)
        claimed = {keys.parse_lease(blob.key) for blob in self._store.list(prefix)}
        parts = {claim[0] for claim in claimed if claim is not None}
        for entry in [entry for entry in self._pending if entry.part in parts]:
            self._skip(entry)

    patch.setattr(ChunkQueue, "_skip_committed", pass_over_claimed)


def never_take_a_claim_over(patch: pytest.MonkeyPatch) -> None:
    take = LeaseManager.acquire
    patch.setattr(
        LeaseManager, "acquire", lambda self, part: part not in self._seen and take(self, part)
    )


def keep_the_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("framecache._core.manifest._next_epoch_name", lambda _epoch: "000000-00000000")


def count_epochs(patch: pytest.MonkeyPatch) -> None:
    def following(epoch: str | None) -> str:
        return f"{int(epoch) + 1 if epoch else 0:06d}"

    patch.setattr("framecache._core.manifest._next_epoch_name", following)


def sweep_before_describing(patch: pytest.MonkeyPatch) -> None:
    clear = deletion.clear

    def sweep_first(store: Store, timeline_id: str) -> deletion.DeletionSummary:
        store.delete([blob.key for blob in store.list(keys.frames_prefix(timeline_id))])
        return clear(store, timeline_id)

    patch.setattr(deletion, "clear", sweep_first)


def believe_that_another_was_first(patch: pytest.MonkeyPatch) -> None:
    def create(store: Store, key: str, body: bytes) -> bool:
        try:
            store.create(key, body)
        except BlobExists:
            return False
        return True

    everywhere(patch, create_verified, create)


def believe_that_what_exists_is_ones_own(patch: pytest.MonkeyPatch) -> None:
    def create(store: Store, key: str, body: bytes) -> bool:
        with suppress(BlobExists):
            store.create(key, body)
        return True

    everywhere(patch, create_verified, create)


def never_look_at_the_epoch_again(patch: pytest.MonkeyPatch) -> None:
    everywhere(patch, ensure_current, lambda _store, description: description)


def take_any_frame_for_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Snapshot, "is_complete", property(lambda self: self.exists))


def take_listed_frames_for_a_part(patch: pytest.MonkeyPatch) -> None:
    def listed_parts(store: Store, description: Manifest, parts: Iterable[str]) -> set[str]:
        listed = {blob.key for blob in store.list(keys.frames_prefix(TIMELINE))}
        wanted = set(parts)
        return {
            entry.part
            for entry in description.chunks
            if entry.part in wanted
            and listed.issuperset(
                keys.frame(TIMELINE, sequence)
                for sequence in range(entry.first_sequence, entry.stop_sequence)
            )
        }

    everywhere(patch, committed_parts, listed_parts)


def update_the_description_in_place(patch: pytest.MonkeyPatch) -> None:
    def update(
        store: Store, timeline_id: str, change: Callable[[Manifest | None], Manifest]
    ) -> Manifest:
        current = current_manifest(store, timeline_id)
        following = change(current)
        if following is not current:
            store.put(keys.manifest(timeline_id, following.version), following.encode())
        return following

    everywhere(patch, update_manifest, update)


def believe_that_a_compaction_holds_everything(patch: pytest.MonkeyPatch) -> None:
    def load_compaction(
        store: Store, description: Manifest, *, decode: Decode[Index] = Index.decode
    ) -> Snapshot:
        compaction = description.compaction
        if compaction is not None:
            compaction = replace(compaction, parts=description.parts)
        return load_snapshot_at(store, replace(description, compaction=compaction), decode=decode)

    everywhere(patch, load_snapshot_at, load_compaction)


def begin_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RunningEpoch, "ensure_begun", RunningEpoch.ensure_current)


def look_then_act(patch: pytest.MonkeyPatch) -> None:
    """Data decided by one look is stored under whatever name is free at that time."""

    def act_later(store: Store, following: Manifest, *, previous: Manifest | None = None) -> bool:
        while not try_commit_manifest(store, following, previous=previous):
            previous = current_manifest(store, TIMELINE)
            following = replace(following, version=previous.version + 1 if previous else 1)
        return True

    everywhere(patch, try_commit_manifest, act_later)


def end_what_is_begun(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        "framecache._ingest.resolve._ensure_inactive",
        lambda store, current, _chunks, _settings: LeaseWatcher(store, current),
    )


def take_claims_for_dead(patch: pytest.MonkeyPatch) -> None:
    everywhere(patch, is_active, lambda _store, _current, _watch: False)


def go_on_with_the_epoch_of_a_lost_description(patch: pytest.MonkeyPatch) -> None:
    def after_lost(self: Manifest, version: int) -> Manifest:
        return replace(self.next_version(), version=version + 1)

    patch.setattr(Manifest, "after_corrupt", after_lost)


def repair_in_place(patch: pytest.MonkeyPatch) -> None:
    def replace_part(
        store: Store,
        description: Manifest,
        part: str,
        index: Index,
        *,
        provenance: Mapping[str, object],
    ) -> int:
        store.put(description.index_key(part), index.encode(json.dumps(provenance).encode()))
        return description.generations.get(part, 0)

    everywhere(patch, commit_repair, replace_part)


DEFECTS: Final = (
    Defect(
        "an index part is committed before its frames are acknowledged",
        commit_before_frames_are_acknowledged,
        every_crash_of("extract"),
        "is not stored",
    ),
    Defect(
        "bodies hold no write id",
        have_no_write_id,
        one_of_two_commits_a_chunk,
        "say they committed",
    ),
    Defect(
        "a reader skips length and CRC",
        skip_the_crc,
        damaged_frames_are_refused,
        "is read as another picture",
    ),
    Defect(
        "a claim is taken for a part",
        take_a_claim_for_a_part,
        every_crash_of("extract"),
        "extract is done with",
    ),
    Defect(
        "the claim of a program that died is never taken over",
        never_take_a_claim_over,
        every_crash_of("extract"),
        "no end after",
    ),
    Defect(
        "a clear goes on with the epoch, and its part names",
        keep_the_epoch,
        every_crash_of("clear"),
        "clear is done with",
    ),
    Defect(
        "epochs are counted, not random",
        count_epochs,
        nothing_is_committed_into_a_later_timeline,
        "is not stored",
    ),
    Defect(
        "a clear sweeps before it describes",
        sweep_before_describing,
        every_crash_of("clear"),
        "is not stored",
    ),
    Defect(
        "what exists is believed to be another's, unread",
        believe_that_another_was_first,
        a_conflict_is_no_existence,
        "taken for existence",
    ),
    Defect(
        "what exists is believed to be one's own, unread",
        believe_that_what_exists_is_ones_own,
        one_of_two_commits_a_chunk,
        "say they committed",
    ),
    Defect(
        "who slept does not look at the epoch again",
        never_look_at_the_epoch_again,
        frames_of_a_later_epoch_stay,
        "has another",
    ),
    Defect(
        "a timeline with any frame is complete",
        take_any_frame_for_all,
        every_crash_of("extract"),
        "complete is True",
    ),
    Defect(
        "a chunk whose frames are listed is cached",
        take_listed_frames_for_a_part,
        every_crash_of("extract"),
        "extract is done with",
    ),
    Defect(
        "the description is updated in place",
        update_the_description_in_place,
        what_two_programs_wrote_is_there,
        "of 6 written frames",
    ),
    Defect(
        "a compaction is believed to hold parts that came later",
        believe_that_a_compaction_holds_everything,
        every_crash_of("append"),
        "are visible",
    ),
    Defect(
        "a repair replaces an index part",
        repair_in_place,
        every_crash_of("repair frames"),
        "was changed in place",
    ),
    Defect(
        "an epoch is not begun before its first commit",
        begin_nothing,
        what_is_done_in_the_midst_of_another_stays,
        "what was done is gone",
    ),
    Defect(
        "whether anything is committed is looked at before the next version is chosen",
        look_then_act,
        what_is_done_in_the_midst_of_another_stays,
        "what was done is gone",
    ),
    Defect(
        "an epoch that is begun is ended",
        end_what_is_begun,
        what_is_begun_outlives_its_program,
        "what was begun is ended",
    ),
    Defect(
        "claims are not watched before an epoch is ended",
        take_claims_for_dead,
        a_sign_of_life_keeps_others_off,
        "a living program is ended",
    ),
    Defect(
        "what follows a damaged description goes on with its epoch",
        go_on_with_the_epoch_of_a_lost_description,
        what_a_lost_description_named_counts_no_more,
        "instead of 1 frames from 2",
    ),
)


def test_every_seeded_defect_is_detected(proof: Proof) -> None:
    catch_all(DEFECTS, proof)


def catch_all(defects: Sequence[Defect], proof: Proof) -> None:
    """See that each check passes, and that it does not with the defect that it is to find."""
    for check in {defect.check for defect in defects}:
        assert _violation(check) == ""
    caught = 0
    for defect in defects:
        with pytest.MonkeyPatch.context() as patch:
            defect.put_in(patch)
            violation = _violation(defect.check)
        # Another violation may come of a mistake in the substitution.
        assert re.search(defect.found_by, violation), f"{defect.name}: {violation or 'not caught'}"
        caught += 1
    proof.found(defects=len(defects), caught=caught)


def _violation(check: Check) -> str:
    """Return the message of a check against an empty store's timeline; empty when all is well."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    try:
        check(store)
    except Violation as violation:
        return str(violation)
    finally:
        restore(store, {})
    return ""
