"""Programs use a timeline through stores with faults; a plain model gives the allowed results."""

from collections.abc import Iterable
from io import BytesIO

import pytest
from hypothesis import Phase
from model_expected import LIMITS
from model_machine import run_model
from PIL import Image
from test_seeded_defects import patch_everywhere
from test_seeded_long_video_defects import ignore_contradictions, replan_in_the_same_epoch
from test_seeded_replace_defects import keep_old_times, remove_packs_first

from framecache._index import FrameRow
from framecache._ingest import chunk_scans, segments
from framecache._ingest.epochs import RunningEpoch
from framecache._ingest.renditions import renditions_of_jpeg
from framecache._layouts.encoding import EncodedRendition
from framecache._media.video import scanning
from framecache._read import FrameSource
from framecache.model import JpegSettings
from framecache.store import BlobExists, Store
from proving import Proof

_SEED = 4


_SHORT_STORES = 60
_SHORT_STEPS = 60
"""Amount in which each defect of this file is found, so no less may be tried."""


@pytest.fixture(autouse=True)
def two_segments_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "LIMITS", LIMITS)


@pytest.fixture(autouse=True)
def sample_tables_of_any_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_MIN_TABLES_FILE_BYTES", 0)
    monkeypatch.setattr(chunk_scans, "_MIN_BYTES_FOR_TABLES", 0)


def test_programs_on_failing_stores_behave_as_the_model_allows(proof: Proof) -> None:
    figures = run_model(
        proof.size(short=_SHORT_STORES, long=2_000),
        proof.size(short=_SHORT_STEPS, long=300),
        seed=None if proof.is_long else _SEED,
        phases=(Phase.generate, Phase.shrink),
    )
    proof.found(
        examples=figures.examples,
        steps=figures.steps,
        reads=figures.reads,
        commits=figures.commits,
        packs=figures.packs,
        repacks=figures.repacks,
        renditions=figures.renditions,
        repacks_of_video=figures.repacks_of_video,
        replans=figures.replans,
        tables_refused=figures.tables_refused,
        chunks_refused=figures.chunks_refused,
        replaced=figures.replaced,
        faults=figures.faults.total(),
        disturbances=figures.disturbances,
        ended=dict(figures.endings),
    )
    assert figures.faults.total() > 0
    assert figures.disturbances > 0
    assert figures.repacks > 0
    assert figures.renditions > 0
    assert figures.repacks_of_video > 0
    assert figures.replans > 0
    assert figures.tables_refused > 0
    assert figures.chunks_refused > 0
    assert figures.replaced > 0


def test_model_detects_creates_that_are_not_read_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def create(store: Store, key: str, body: bytes) -> bool:
        store.create(key, body)
        return True

    for user in ("commit", "manifests"):
        monkeypatch.setattr(f"framecache._index.{user}.create_verified", create)
    with pytest.raises(BlobExists):
        run_model(_SHORT_STORES, _SHORT_STEPS, seed=_SEED)


def test_model_detects_commits_into_an_epoch_that_may_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RunningEpoch, "ensure_begun", RunningEpoch.ensure_current)
    with pytest.raises(AssertionError, match=r"allowed|before it was begun"):
        run_model(_SHORT_STORES, _SHORT_STEPS, seed=_SEED)


def test_model_detects_frames_that_are_not_checked_against_the_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compare_the_length(_: FrameSource, data: bytes, row: FrameRow) -> str:
        return "" if len(data) == row.size else "its length differs"

    monkeypatch.setattr(FrameSource, "_find_mismatch", compare_the_length)
    with pytest.raises(AssertionError, match="gave"):
        run_model(_SHORT_STORES, _SHORT_STEPS, seed=_SEED)


def test_model_detects_contradicted_tables_that_are_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ignore_contradictions(monkeypatch)
    with pytest.raises(AssertionError, match="is not what"):
        run_model(_SHORT_STORES, _SHORT_STEPS, seed=_SEED)


def test_model_detects_new_plans_in_the_epoch_of_the_contradicted_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replan_in_the_same_epoch(monkeypatch)
    with pytest.raises(AssertionError, match=r"allowed|is not what"):
        run_model(_SHORT_STORES, _SHORT_STEPS, seed=_SEED)


def test_model_detects_packs_deleted_before_their_frames_are_indexed_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remove_packs_first(monkeypatch)
    with pytest.raises(AssertionError, match="were harmed"):
        run_model(_SHORT_STORES, _SHORT_STEPS, seed=_SEED)


def test_model_detects_renditions_that_show_another_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def turned_over(
        data: bytes, sides: Iterable[int], settings: JpegSettings
    ) -> tuple[EncodedRendition, ...]:
        turned = BytesIO()
        with Image.open(BytesIO(data)) as picture:
            picture.transpose(Image.Transpose.ROTATE_180).save(turned, "JPEG", quality=95)
        return renditions_of_jpeg(turned.getvalue(), sides, settings)

    patch_everywhere(monkeypatch, renditions_of_jpeg, turned_over)
    with pytest.raises(AssertionError, match=r"renditions of frames .* came to harm"):
        run_model(_SHORT_STORES, _SHORT_STEPS, seed=_SEED)


def test_model_detects_replaced_frames_that_keep_their_old_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep_old_times(monkeypatch)
    with pytest.raises(AssertionError, match="allowed"):
        run_model(_SHORT_STORES, _SHORT_STEPS, seed=_SEED)
