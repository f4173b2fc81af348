"""Defects inserted into renditions, to test that the proofs detect them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Final

import pytest
from test_seeded_defects import CrashProof, Defect, catch_all, patch_everywhere

from framecache._core import keys
from framecache._core.chunk_entry import Segment
from framecache._core.manifest import Manifest
from framecache._index import FrameRow, Index, Rendition, rendition_objects
from framecache._ingest.renditions import renditions_of_jpeg, with_renditions
from framecache._layouts import objects
from framecache._layouts.encoding import EncodedRendition
from framecache._maintain.verify.repair import Repair
from framecache._maintain.verify.report import Finding
from framecache.model import JpegSettings
from proving import Proof


def name_renditions_without_storing_them(patch: pytest.MonkeyPatch) -> None:
    def name(
        manifest: Manifest,
        sequence: int,
        renditions: Iterable[EncodedRendition],
        *,
        put: Callable[[str, bytes], None],  # noqa: ARG001 -- not called
    ) -> tuple[Rendition, ...]:
        return tuple(
            one.located(
                key=keys.rendition(
                    manifest.timeline_id,
                    epoch=manifest.epoch,
                    max_side=one.max_side,
                    sequence=sequence,
                ),
                offset=0,
            )
            for one in renditions
        )

    patch_everywhere(patch, objects.store_renditions, name)


def make_renditions_of_the_frame_before(patch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def of_the_one_before(
        data: bytes, sides: Iterable[int], settings: JpegSettings
    ) -> tuple[EncodedRendition, ...]:
        seen.append(data)
        return renditions_of_jpeg(seen[-2:][0], sides, settings)

    patch_everywhere(patch, renditions_of_jpeg, of_the_one_before)


def keep_renditions_at_clear(patch: pytest.MonkeyPatch) -> None:
    known = {**vars(keys), "renditions_prefix": keys.leases_prefix}
    patch.setattr("framecache._ingest.deletion.keys", SimpleNamespace(**known))


def remove_renditions_in_use(patch: pytest.MonkeyPatch) -> None:
    def none_are_blobs(_: Index) -> dict[str, object]:
        return {}

    patch_everywhere(patch, rendition_objects, none_are_blobs)


def forget_added_renditions(patch: pytest.MonkeyPatch) -> None:
    def keep_row(row: FrameRow, _: Iterable[Rendition]) -> FrameRow:
        return row

    patch_everywhere(patch, with_renditions, keep_row)


def report_renditions_as_repaired(patch: pytest.MonkeyPatch) -> None:
    def report(
        _self: Repair,
        _part: str,
        _segment: Segment | None,
        _rows: Index,
        bad: Mapping[int, Sequence[Finding]],
    ) -> list[Finding]:
        return [replace(one, repaired=True) for found in bad.values() for one in found]

    patch.setattr(Repair, "repair_renditions", report)


DEFECTS: Final = (
    Defect(
        "rows name renditions that are not stored",
        name_renditions_without_storing_them,
        CrashProof("extract renditions"),
        "rendition 8 of frame 0, .* is not stored",
    ),
    Defect(
        "a rendition is made from the frame before",
        make_renditions_of_the_frame_before,
        CrashProof("add renditions to packs"),
        "shows frame 0",
    ),
    Defect(
        "a clear leaves renditions where they are",
        keep_renditions_at_clear,
        CrashProof("clear renditions"),
        "a clear leaves",
    ),
    Defect(
        "gc removes renditions that are in use",
        remove_renditions_in_use,
        CrashProof("gc of renditions"),
        "is not stored",
    ),
    Defect(
        "added renditions are not recorded",
        forget_added_renditions,
        CrashProof("add renditions"),
        r"has renditions \[\]",
    ),
    Defect(
        "a repair reports renditions as repaired that it leaves",
        report_renditions_as_repaired,
        CrashProof("repair renditions"),
        r"is done with \[2, 3, 4\]",
    ),
)


def test_every_seeded_rendition_defect_is_detected(proof: Proof) -> None:
    catch_all(DEFECTS, proof)
