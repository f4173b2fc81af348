"""Defects inserted into packs and repacking, to test that the proofs detect them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

import google_crc32c
import pytest
from test_seeded_defects import (
    CrashProof,
    Defect,
    catch_all,
    chunk_is_committed_once,
    patch_everywhere,
    repair_in_place,
)

from framecache._core import keys
from framecache._core.manifest import Manifest
from framecache._index import FrameRow, Index, commit_part
from framecache._layouts import pack_format, pack_upload
from framecache._layouts.encoding import EncodedJpeg, FramePosition, build_row
from framecache._layouts.pack_upload import FrameUpload, _Frame, _Pack
from framecache._maintain.repack.run import _RepackRun
from framecache._maintain.rewriting import RewrittenPart
from framecache._read.frame_source import read_stored_jpeg
from framecache.store import Store
from proving import Proof


def begin_one_byte_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pack_upload, "HEADER_BYTES", pack_format.HEADER_BYTES + 1)


def include_padding_in_crc(patch: pytest.MonkeyPatch) -> None:
    def padded_row_of(
        slot: FramePosition, encoded: EncodedJpeg, *, key: str, offset: int
    ) -> FrameRow:
        padded = encoded.data + bytes(-len(encoded.data) % pack_format.HEADER_BYTES)
        crc32c = google_crc32c.value(padded)
        other = EncodedJpeg(
            encoded.data, encoded.width, encoded.height, crc32c, encoded.perceptual_hash
        )
        return build_row(slot, other, key=key, offset=offset)

    patch.setattr("framecache._layouts.pack_upload.build_row", padded_row_of)


def read_one_byte_less(patch: pytest.MonkeyPatch) -> None:
    def read(store: Store, row: FrameRow) -> bytes:
        if not row.offset:
            return store.get(row.key)
        return store.get_range(row.key, start=row.offset, length=row.size - 1)

    patch_everywhere(patch, read_stored_jpeg, read)


def commit_before_the_pack_is_stored(patch: pytest.MonkeyPatch) -> None:
    unstored: list[Callable[[], None]] = []

    def store_later(self: FrameUpload, first: _Frame, rows: list[FrameRow]) -> _Frame | None:
        pack = _Pack(self._new_key())
        self._packs.append(pack)
        blocks = [*self._blocks(pack, first, rows)]
        unstored.append(partial(self._store.put_stream, pack.key, blocks))
        return pack.next_frame

    def commit_first(
        store: Store,
        manifest: Manifest,
        part: str,
        index: Index,
        *,
        provenance: Mapping[str, Any],
    ) -> Index:
        committed = commit_part(store, manifest, part, index, provenance=provenance)
        unstored.pop()()
        return committed

    patch.setattr(FrameUpload, "_store_pack", store_later)
    patch.setattr("framecache._ingest.extraction_run.commit_part", commit_first)


def name_all_attempts_alike(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        FrameUpload,
        "_new_key",
        lambda self: keys.pack(
            self._manifest.timeline_id,
            epoch=self._manifest.epoch,
            part=self._part,
            attempt=16 * "0",
        ),
    )


def keep_packs_at_clear(patch: pytest.MonkeyPatch) -> None:
    known = {**vars(keys), "packs_prefix": keys.leases_prefix}
    patch.setattr("framecache._ingest.deletion.keys", SimpleNamespace(**known))


def remove_before_new_manifest(patch: pytest.MonkeyPatch) -> None:
    describe = _RepackRun._commit_manifest  # noqa: SLF001 -- the place of the defect

    def remove_first(self: _RepackRun, moved: Sequence[RewrittenPart]) -> None:
        for part in moved:
            self.store.delete(part.old_keys)
        describe(self, moved)

    patch.setattr(_RepackRun, "_commit_manifest", remove_first)


INTO_PACKS: Final = CrashProof("extract into packs")
REPACK: Final = CrashProof("repack into packs")

DEFECTS: Final = (
    Defect(
        "a row has its JPEG begin one byte late", begin_one_byte_late, INTO_PACKS, "another CRC"
    ),
    Defect(
        "the CRC is that of the JPEG and its padding",
        include_padding_in_crc,
        INTO_PACKS,
        "another CRC",
    ),
    Defect("a range is read short by one byte", read_one_byte_less, INTO_PACKS, "are refused"),
    Defect(
        "an index part is committed before its pack is stored",
        commit_before_the_pack_is_stored,
        INTO_PACKS,
        "is not stored",
    ),
    Defect(
        "all attempts at a pack have one name",
        name_all_attempts_alike,
        partial(chunk_is_committed_once, layout="packs"),
        "say they committed",
    ),
    Defect(
        "a clear leaves packs where they are",
        keep_packs_at_clear,
        CrashProof("clear packs"),
        "a clear leaves",
    ),
    Defect(
        "a repack removes what was there before it describes where it is",
        remove_before_new_manifest,
        REPACK,
        "is not stored",
    ),
    Defect("a repack replaces an index part", repair_in_place, REPACK, "was changed in place"),
)


def test_every_seeded_pack_defect_is_detected(proof: Proof) -> None:
    catch_all(DEFECTS, proof)
