"""Defects inserted into the protocol on purpose, to test that the proofs detect them.

Each is a substitution for one check. The same check must pass on framecache without the defect,
and must find a violation with it.
"""

import json
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Final

import pytest
from invariants import (
    PREFIX,
    TIMELINE,
    Violation,
    alone,
    inspect_timeline,
    pictures,
    require,
    restore,
    written,
)
from operations import BOTH, OPERATIONS, Operation, chunks
from operations_renditions import OPERATIONS_OF_RENDITIONS
from operations_video import OPERATIONS_OF_VIDEO
from processes import Process
from test_crash import Matrix

from dying import dying_at
from framecache import ExtractReport, SettingsConflict, StoreUnavailable, Timeline, TimelineCleared
from framecache._core import keys
from framecache._core.chunk_entry import Segment
from framecache._core.manifest import Manifest, new_write_id
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
from framecache._ingest.work_queue import SegmentQueue
from framecache._layouts.encoding import EncoderPool, FramePosition
from framecache._layouts.objects import ObjectStorage
from framecache._read import FrameSource
from framecache.model import Layout
from framecache.store import BlobExists, Store, open_store
from framecache.testing import Action, Crash, Fault, FaultyStore, HookedStore
from proving import Proof

Check = Callable[[Store], object]
_ALL_OPERATIONS: Final = (*OPERATIONS, *OPERATIONS_OF_VIDEO, *OPERATIONS_OF_RENDITIONS)


@dataclass(frozen=True)
class Defect:
    """Defect of the protocol, and the check that detects it."""

    name: str
    install: Callable[[pytest.MonkeyPatch], object]
    check: Check
    found_by: str
    """Pattern of the violation's message."""


# The checks


@dataclass(frozen=True)
class CrashProof:
    """The short crash proof of an operation, which is a test of its own in ``test_crash``."""

    name: str

    def __call__(self, store: Store) -> None:
        matrix = Matrix(self._operation, store)
        for point in matrix.points_of("first", matrix.before):
            matrix.leave("first", matrix.before, point)

    @property
    def _operation(self) -> Operation:
        return next(one for one in _ALL_OPERATIONS if one.name == self.name)

    def pass_once(self, store: Store) -> None:
        """Crash at the first request only, which makes the frames that are expected."""
        matrix = Matrix(self._operation, store)
        matrix.leave("first", matrix.before, matrix.points_of("first", matrix.before)[0])


def sleeping(
    store: Store, actions: set[Action], within: str, other_work: Callable[[], object]
) -> Store:
    """Return a store that runs another program's work before its first matching request."""
    left = [other_work]

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


def chunk_is_committed_once(store: Store, *, layout: Layout | None = None) -> None:
    """A program loses its lease before a commit, and another one extracts everything."""
    reports: list[ExtractReport] = []

    def extract_all() -> None:
        reports.append(extract(store, layout=layout))

    slow = sleeping(store, {"create"}, "/index/", extract_all)
    with Process("first").running():
        reports.append(extract(slow, layout=layout))
    committed = [report.chunks_extracted for report in reports]
    require(sum(committed) == 2, f"of 2 chunks, two programs say they committed {committed}")


def extraction_completed_during_another_is_kept(store: Store) -> None:
    """Another extraction completes before a program with other settings ends the epoch."""
    die(store, "put", "/frames/")
    store.delete([blob.key for blob in store.list(f"{PREFIX}claims/")])
    # With one chunk there is no compaction, which would also stop the other program.
    slow = sleeping(store, {"create"}, "/timeline/", lambda: extract(store, count=1))
    with Process("first").running(), suppress(SettingsConflict):
        extract(slow, count=1, quality=60)
    document = inspect_timeline(store).document
    require(document and document["jpeg"]["quality"] == 85, "the completed extraction is lost")


def begun_epoch_outlives_its_program(store: Store) -> None:
    """A program dies at its first commit; a later one has other settings."""
    die(store, "create", "/index/")
    store.delete([blob.key for blob in store.list(f"{PREFIX}claims/")])
    require_refused(store, "a begun epoch is ended")


def heartbeat_prevents_replacement(store: Store) -> None:
    """A program without a begun epoch sends a heartbeat while another watches its lease."""
    die(store, "put", "/frames/")
    left = [blob.key for blob in store.list(f"{PREFIX}claims/")]

    def send_heartbeat(action: Action, key: str) -> None:
        if action == "list" and "/claims/" in key and left:
            store.put(left.pop().replace("-0.json", "-1.json"), b"{}")

    require_refused(HookedStore(store, after=send_heartbeat), "a living program is ended")


def require_refused(store: Store, otherwise: str) -> None:
    """Extract with other settings, which must be refused."""
    try:
        with Process("other").running():
            extract(store, quality=60)
    except SettingsConflict:
        return
    raise Violation(otherwise)


def die(store: Store, at: Action, within: str) -> None:
    """Extract, and die at the first matching request."""
    with Process("dying").running(), pytest.raises(Crash):
        extract(dying_at(store, at, within), count=1)


def conflict_response_is_not_existence(store: Store) -> None:
    """S3 answers 409 to a create although nothing is stored."""
    left = [Fault.CONFLICT]

    def schedule(action: Action, key: str) -> Fault | None:
        return left.pop() if left and action == "create" and "/index/" in key else None

    try:
        extract(FaultyStore(store, schedule))
    except StoreUnavailable as error:
        raise Violation(f"a conflict response is treated as existence: {error}") from error
    inspect_timeline(store)


def damaged_frames_are_refused(store: Store) -> None:
    extract(store)
    frames = [f"{PREFIX}frames/{sequence}.jpg" for sequence in range(4)]
    flipped = bytearray(store.get(frames[0]))
    flipped[len(flipped) // 2] ^= 1
    store.put(frames[0], bytes(flipped))
    store.put(frames[1], store.get(frames[1])[:-2])
    store.put(frames[2], store.get(frames[3]))
    damaged = frozenset(range(3))
    require(
        inspect_timeline(store, damaged=damaged).refused == damaged, "a damaged frame is returned"
    )


def later_timeline_receives_no_commit(store: Store) -> None:
    """Before a commit, the timeline is deleted and recreated by a program that dies."""

    def recreate() -> None:
        Timeline(store, TIMELINE).delete()

        def die_before_first_frame(action: Action, _key: str) -> None:
            if action == "put":
                raise Crash

        with pytest.raises(Crash):
            extract(HookedStore(store, before=die_before_first_frame))

    with Process("first").running(), suppress(TimelineCleared):
        extract(sleeping(store, {"create"}, "/index/", recreate), quality=60)
    inspect_timeline(store)


def frames_of_later_epoch_are_kept(store: Store) -> None:
    """Another program rebuilds the timeline between two chunks of an extraction."""

    def rebuild() -> None:
        Timeline(store, TIMELINE).rebuild(quality=60, workers=1)

    with Process("first").running(), suppress(TimelineCleared):
        extract(sleeping(store, {"create"}, "/000001-", rebuild))
    seen = inspect_timeline(store)
    require(seen.frames == BOTH and seen.is_complete, "the rebuilt timeline is not complete")


def frames_of_two_writers_are_kept(store: Store) -> None:
    """Another program writes before a write commits its manifest."""

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
    seen = inspect_timeline(store)
    require(seen.frames == frozenset(range(6)), f"of 6 written frames, {sorted(seen.frames)} stay")


def parts_of_corrupt_manifest_are_ignored(store: Store) -> None:
    """Only the damaged manifest names an appended chunk; another chunk replaces it."""
    first, second, third = chunks(3)
    timeline = Timeline(store, TIMELINE)
    timeline.extract(first, workers=1)
    timeline.append(second, workers=1)
    for version in (3, 4):  # those of the append and of the compaction after it
        store.put(keys.manifest(TIMELINE, version), b"")
    timeline.verify(repair=True, workers=1)
    timeline.append(third, workers=1)
    require(inspect_timeline(store).is_complete, "the timeline is not complete")


# The defects


def patch_everywhere(
    patch: pytest.MonkeyPatch,
    original: Callable[..., object],
    substitute: Callable[..., object],
) -> None:
    """Replace a function in every module that uses it."""
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
        manifest: Manifest,
        encoders: EncoderPool,
        *,
        put: Callable[[str, bytes], None],
        on_stored: Callable[[FramePosition], None],
    ) -> None:
        def store_later(key: str, jpeg: bytes) -> None:
            unstored.append(partial(put, key, jpeg))

        begin(self, manifest, encoders, put=store_later, on_stored=on_stored)

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


def omit_write_id(patch: pytest.MonkeyPatch) -> None:
    patch_everywhere(patch, new_write_id, lambda: "")
    encode = parquet.encode

    def encode_alike(rows: Columns, metadata: bytes, _: object = None) -> bytes:
        return encode(rows, metadata)  # arro3 stores several entries of metadata in any order

    patch.setattr(parquet, "encode", encode_alike)


def skip_the_crc(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FrameSource, "_find_mismatch", lambda *_: "")


def mistake_lease_for_part(patch: pytest.MonkeyPatch) -> None:
    skip_committed = SegmentQueue._skip_committed  # noqa: SLF001 -- the place of the defect

    def skip_leased(self: SegmentQueue, segments: Sequence[Segment]) -> None:
        skip_committed(self, segments)
        prefix = keys.leases_prefix(TIMELINE, self._manifest.epoch)
        leases = {keys.parse_lease(blob.key) for blob in self._store.list(prefix)}
        parts = {lease[0] for lease in leases if lease is not None}
        for segment in [one for one in self._pending if one.part in parts]:
            self._skip(segment)

    patch.setattr(SegmentQueue, "_skip_committed", skip_leased)


def never_acquire_stale_lease(patch: pytest.MonkeyPatch) -> None:
    acquire = LeaseManager.acquire
    patch.setattr(
        LeaseManager, "acquire", lambda self, part: part not in self._seen and acquire(self, part)
    )


def keep_the_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("framecache._core.manifest._next_epoch_name", lambda _epoch: "000000-00000000")


def count_epochs(patch: pytest.MonkeyPatch) -> None:
    def following(epoch: str | None) -> str:
        return f"{int(epoch) + 1 if epoch else 0:06d}"

    patch.setattr("framecache._core.manifest._next_epoch_name", following)


def delete_before_new_manifest(patch: pytest.MonkeyPatch) -> None:
    clear = deletion.clear

    def delete_first(store: Store, timeline_id: str) -> deletion.DeletionSummary:
        store.delete([blob.key for blob in store.list(keys.frames_prefix(timeline_id))])
        return clear(store, timeline_id)

    patch.setattr(deletion, "clear", delete_first)


def treat_existing_blob_as_foreign(patch: pytest.MonkeyPatch) -> None:
    def create(store: Store, key: str, body: bytes) -> bool:
        try:
            store.create(key, body)
        except BlobExists:
            return False
        return True

    patch_everywhere(patch, create_verified, create)


def treat_existing_blob_as_own(patch: pytest.MonkeyPatch) -> None:
    def create(store: Store, key: str, body: bytes) -> bool:
        with suppress(BlobExists):
            store.create(key, body)
        return True

    patch_everywhere(patch, create_verified, create)


def never_check_epoch_again(patch: pytest.MonkeyPatch) -> None:
    patch_everywhere(patch, ensure_current, lambda _store, manifest: manifest)


def treat_any_frame_as_complete(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Snapshot, "is_complete", property(lambda self: self.exists))


def treat_listed_frames_as_committed(patch: pytest.MonkeyPatch) -> None:
    def listed_parts(store: Store, manifest: Manifest, parts: Iterable[str]) -> set[str]:
        listed = {blob.key for blob in store.list(keys.frames_prefix(TIMELINE))}
        wanted = set(parts)
        return {
            segment.part
            for segment in manifest.segments
            if segment.part in wanted
            and listed.issuperset(
                keys.frame(TIMELINE, sequence)
                for sequence in range(segment.first_sequence, segment.stop_sequence)
            )
        }

    patch_everywhere(patch, committed_parts, listed_parts)


def update_manifest_in_place(patch: pytest.MonkeyPatch) -> None:
    def update(
        store: Store, timeline_id: str, change: Callable[[Manifest | None], Manifest]
    ) -> Manifest:
        current = current_manifest(store, timeline_id)
        following = change(current)
        if following is not current:
            store.put(keys.manifest(timeline_id, following.version), following.encode())
        return following

    patch_everywhere(patch, update_manifest, update)


def treat_compaction_as_complete(patch: pytest.MonkeyPatch) -> None:
    def load_compaction(
        store: Store, manifest: Manifest, *, decode: Decode[Index] = Index.decode
    ) -> Snapshot:
        compaction = manifest.compaction
        if compaction is not None:
            compaction = replace(compaction, parts=manifest.parts)
        return load_snapshot_at(store, replace(manifest, compaction=compaction), decode=decode)

    patch_everywhere(patch, load_snapshot_at, load_compaction)


def skip_beginning_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RunningEpoch, "ensure_begun", RunningEpoch.ensure_current)


def choose_version_after_check(patch: pytest.MonkeyPatch) -> None:
    """Store a manifest that is based on one check under the version that is free later."""

    def commit_at_free_version(
        store: Store, following: Manifest, *, previous: Manifest | None = None
    ) -> bool:
        while not try_commit_manifest(store, following, previous=previous):
            previous = current_manifest(store, TIMELINE)
            following = replace(following, version=previous.version + 1 if previous else 1)
        return True

    patch_everywhere(patch, try_commit_manifest, commit_at_free_version)


def end_begun_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        "framecache._ingest.resolve._ensure_inactive",
        lambda store, current, _chunks, _settings: LeaseWatcher(store, current),
    )


def treat_leases_as_stale(patch: pytest.MonkeyPatch) -> None:
    patch_everywhere(patch, is_active, lambda _store, _current, _watch: False)


def continue_epoch_of_corrupt_manifest(patch: pytest.MonkeyPatch) -> None:
    def next_version(self: Manifest, version: int) -> Manifest:
        return replace(self.next_version(), version=version + 1)

    patch.setattr(Manifest, "after_corrupt", next_version)


def repair_in_place(patch: pytest.MonkeyPatch) -> None:
    def replace_part(
        store: Store,
        manifest: Manifest,
        part: str,
        index: Index,
        *,
        provenance: Mapping[str, object],
    ) -> int:
        store.put(manifest.index_key(part), index.encode(json.dumps(provenance).encode()))
        return manifest.generations.get(part, 0)

    patch_everywhere(patch, commit_repair, replace_part)


DEFECTS: Final = (
    Defect(
        "an index part is committed before its frames are acknowledged",
        commit_before_frames_are_acknowledged,
        CrashProof("extract"),
        "is not stored",
    ),
    Defect(
        "index parts have no write id",
        omit_write_id,
        chunk_is_committed_once,
        "say they committed",
    ),
    Defect(
        "a reader skips length and CRC",
        skip_the_crc,
        damaged_frames_are_refused,
        "is read as another picture",
    ),
    Defect(
        "a lease is mistaken for a part",
        mistake_lease_for_part,
        CrashProof("extract"),
        "extract is done with",
    ),
    Defect(
        "a stale lease is never acquired",
        never_acquire_stale_lease,
        CrashProof("extract"),
        "no end after",
    ),
    Defect(
        "a clear keeps the epoch and its part names",
        keep_the_epoch,
        CrashProof("clear"),
        "clear is done with",
    ),
    Defect(
        "epochs are counted, not random",
        count_epochs,
        later_timeline_receives_no_commit,
        "is not stored",
    ),
    Defect(
        "a clear deletes blobs before it creates a manifest",
        delete_before_new_manifest,
        CrashProof("clear"),
        "is not stored",
    ),
    Defect(
        "an existing blob is treated as another program's without a read",
        treat_existing_blob_as_foreign,
        conflict_response_is_not_existence,
        "treated as existence",
    ),
    Defect(
        "an existing blob is treated as the program's own without a read",
        treat_existing_blob_as_own,
        chunk_is_committed_once,
        "say they committed",
    ),
    Defect(
        "a delayed program does not check the epoch again",
        never_check_epoch_again,
        frames_of_later_epoch_are_kept,
        "has another",
    ),
    Defect(
        "a timeline with any frame is complete",
        treat_any_frame_as_complete,
        CrashProof("extract"),
        "complete is True",
    ),
    Defect(
        "a chunk whose frames are listed is cached",
        treat_listed_frames_as_committed,
        CrashProof("extract"),
        "extract is done with",
    ),
    Defect(
        "the manifest is updated in place",
        update_manifest_in_place,
        frames_of_two_writers_are_kept,
        "of 6 written frames",
    ),
    Defect(
        "a compaction is treated as if it had later parts",
        treat_compaction_as_complete,
        CrashProof("append"),
        "are visible",
    ),
    Defect(
        "a repair replaces an index part",
        repair_in_place,
        CrashProof("repair frames"),
        "was changed in place",
    ),
    Defect(
        "an epoch is not begun before its first commit",
        skip_beginning_epoch,
        extraction_completed_during_another_is_kept,
        "the completed extraction is lost",
    ),
    Defect(
        "commits are checked before the next version is chosen",
        choose_version_after_check,
        extraction_completed_during_another_is_kept,
        "the completed extraction is lost",
    ),
    Defect(
        "a begun epoch is ended",
        end_begun_epoch,
        begun_epoch_outlives_its_program,
        "a begun epoch is ended",
    ),
    Defect(
        "leases are not watched before an epoch is ended",
        treat_leases_as_stale,
        heartbeat_prevents_replacement,
        "a living program is ended",
    ),
    Defect(
        "the manifest after a corrupt one keeps its epoch",
        continue_epoch_of_corrupt_manifest,
        parts_of_corrupt_manifest_are_ignored,
        "instead of 1 frames from 2",
    ),
)


def test_every_seeded_defect_is_detected(proof: Proof) -> None:
    catch_all(DEFECTS, proof)


def catch_all(defects: Sequence[Defect], proof: Proof) -> None:
    """Require that each check passes, and that it fails with the defect that it must detect.

    That a crash proof passes at every point is shown by its own test.
    """
    for check in {defect.check for defect in defects}:
        passes = check.pass_once if isinstance(check, CrashProof) else check
        assert _violation(passes) == ""
    caught = 0
    for defect in defects:
        made = _frames_made()
        with pytest.MonkeyPatch.context() as patch:
            defect.install(patch)
            violation = _violation(defect.check)
        if isinstance(defect.check, CrashProof):
            assert _frames_made() == made, f"{defect.name}: the expected frames have the defect"
        # A mistake in the substitution may cause another violation.
        assert re.search(defect.found_by, violation), f"{defect.name}: {violation or 'not caught'}"
        caught += 1
    proof.found(defects=len(defects), caught=caught)


def _frames_made() -> int:
    return alone.cache_info().misses + written.cache_info().misses


def _violation(check: Check) -> str:
    """Return the violation that a check finds with an empty store; empty if there is none."""
    store = open_store(f"memory://{uuid.uuid4().hex}")
    try:
        check(store)
    except Violation as violation:
        return str(violation)
    finally:
        restore(store, {})
    return ""
