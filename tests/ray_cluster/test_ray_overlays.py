"""Overlays that a dataset of Ray Data stores."""

import os
import signal
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import clips
import numpy as np
import numpy.typing as npt
import pytest
import ray.data
from PIL import Image

from framecache import FrameCache, InvalidId, InvalidValue
from framecache.ray import OverlaySink, read_frames
from framecache.testing import Action
from ray_cluster.logged_store import LoggedStore, cache_in

pytestmark = pytest.mark.usefixtures("cluster", "quiet_data")

Result = TypeVar("Result")
FRAMES = 45


class DyingAfterWrite(LoggedStore):
    """Store of which one process kills itself once it has stored the overlay of frame 7."""

    @property
    def marker(self) -> Path:
        """File that exists once a process has died."""
        return self.log.with_suffix(".died")

    def perform(self, action: Action, key: str, operation: Callable[[], Result]) -> Result:
        """Make one request, then die if it is the one."""
        result = super().perform(action, key, operation)
        if action == "put" and key.endswith("/7_mask.png"):
            try:
                self.marker.touch(exist_ok=False)
            except FileExistsError:
                return result
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def masked(row: dict[str, Any]) -> dict[str, Any]:
    """A mask of a frame, which is the same whenever it is made."""
    return {
        "timeline_id": row["timeline_id"],
        "sequence": row["sequence"],
        "mask": row["image"][:, :, 0] > 128,
    }


def pixels(png: bytes) -> npt.NDArray[np.generic]:
    with Image.open(BytesIO(png)) as image:
        return np.asarray(image)


def sink(cache: FrameCache, **overlays: str) -> OverlaySink:
    return OverlaySink(cache, job_id="run-7", stage="masks", overlays=overlays or {"mask": "mask"})


def test_each_row_becomes_the_overlay_of_its_frame(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path)
    for name in ("a", "b"):
        cache.timeline(name).extract(clips.chunks())
    read_frames(["a", "b"], cache=cache).map(masked).write_datasink(sink(cache))
    for name in ("a", "b"):
        overlays = cache.timeline(name).overlays(job_id="run-7", stage="masks")
        assert overlays.frames() == [*range(FRAMES)]
        frame = cache.timeline(name).frame(30).image
        np.testing.assert_array_equal(pixels(overlays.load(30)["mask"]), frame[:, :, 0] > 128)
        assert overlays.stale() == []


def test_a_task_that_is_run_again_after_it_stored_everything_changes_nothing(
    tmp_path: Path,
) -> None:
    cache = cache_in(tmp_path, DyingAfterWrite)
    cache.timeline("a").extract(clips.chunks())
    read_frames("a", cache=cache).map(masked).write_datasink(sink(cache))
    assert isinstance(cache.store, DyingAfterWrite)
    assert cache.store.marker.exists()
    put = [one.key for one in cache.store.requests() if one.key.endswith("/7_mask.png")]
    assert len(put) >= 2
    overlays = cache.timeline("a").overlays(job_id="run-7", stage="masks")
    assert overlays.frames() == [*range(FRAMES)]
    listed = [*cache.store.list("cache/timelines/a/overlays")]
    assert len(listed) == FRAMES
    for sequence in (7, 8):
        expected = cache.timeline("a").frame(sequence).image[:, :, 0] > 128
        np.testing.assert_array_equal(pixels(overlays.load(sequence)["mask"]), expected)


def test_bytes_arrays_of_several_sizes_and_missing_pictures_are_stored(tmp_path: Path) -> None:
    png = BytesIO()
    Image.new("L", (3, 2), 7).save(png, "PNG")
    rows = [
        {"timeline_id": "a", "sequence": 0, "mask": png.getvalue(), "heat": np.zeros((4, 5))},
        {"timeline_id": "a", "sequence": 1, "mask": None, "heat": np.ones((2, 3))},
    ]
    for row in rows:
        row["heat"] = np.asarray(row["heat"], np.uint16)
    cache = FrameCache(tmp_path)
    ray.data.from_items(rows).write_datasink(sink(cache, mask="m", heat="h"))
    overlays = cache.timeline("a").overlays(job_id="run-7", stage="masks")
    assert overlays.load(0)["m"] == png.getvalue()
    assert [*overlays.load(1)] == ["h"]
    assert pixels(overlays.load(0)["h"]).shape == (4, 5)
    assert pixels(overlays.load(1)["h"]).tolist() == [[1] * 3] * 2


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([{"sequence": 0, "mask": b""}], InvalidValue, "has no column 'timeline_id'"),
        ([{"timeline_id": "a", "sequence": 0}], InvalidValue, "has no column 'mask'"),
        ([{"timeline_id": "a", "sequence": 0, "mask": b"no"}], InvalidValue, "PNG"),
        ([{"timeline_id": "a", "sequence": 0.5, "mask": b"no"}], InvalidValue, "an integer"),
        (
            [{"timeline_id": "a", "sequence": 0, "mask": None}] * 2,
            InvalidValue,
            "two rows for frame 0 of timeline a",
        ),
        ([{"timeline_id": "a/b", "sequence": 0, "mask": None}], InvalidId, "a/b"),
    ],
)
def test_rows_that_are_no_overlays_are_refused(
    tmp_path: Path, rows: list[dict[str, Any]], error: type[Exception], message: str
) -> None:
    dataset = ray.data.from_items(rows, override_num_blocks=1)
    with pytest.raises(error, match=message):
        dataset.write_datasink(sink(FrameCache(tmp_path)))


def test_a_wrong_name_is_refused_at_once(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path)
    with pytest.raises(InvalidId, match="job_id"):
        OverlaySink(cache, job_id="a/b", stage="s", overlays={"mask": "m"})
    with pytest.raises(InvalidId, match="overlay name"):
        OverlaySink(cache, job_id="j", stage="s", overlays={"mask": "a/b"})
    with pytest.raises(InvalidValue, match="names by column"):
        OverlaySink(cache, job_id="j", stage="s", overlays={})
    with pytest.raises(InvalidValue, match="memory of this program"):
        OverlaySink(FrameCache("memory://x"), job_id="j", stage="s", overlays={"mask": "m"})
