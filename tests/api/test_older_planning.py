"""Timelines whose chunks were counted by the rules of an earlier version."""

import json
from itertools import count
from pathlib import Path

import clips
import google_crc32c
import numpy as np
import pytest

import media
from framecache import FrameCache, Timeline
from framecache._core import keys
from framecache.store import open_store

_NUMBERS = count()
_NEWER_FIELDS = (
    *("scan_rules", "placement", "last_frame_start", "sound_seconds", "sampled_from"),
    *("stream_clock", "clock_start", "clock_end", "clock_gap"),
    *("times_replaced", "clock_restarts", "packets_not_displayed", "is_cut_short"),
)


@pytest.fixture
def url() -> str:
    return f"memory://older-rules-{next(_NUMBERS)}"


def planned_by_older_rules(url: str, chunk: Path, **changes: object) -> Timeline:
    """Return a timeline whose manifest has the fields, and maybe counts, of an earlier version."""
    match = FrameCache(url).timeline("t")
    match.extract([chunk])
    store = open_store(url)
    *_, key = sorted(blob.key for blob in store.list(keys.manifests_prefix("t")))
    document = json.loads(store.get(key))
    document.pop("begun")
    for entry in document["chunks"]:
        for field in _NEWER_FIELDS:
            entry.pop(field, None)
        entry.update(changes)
    del document["crc32c"]
    bare = json.dumps(document, indent=1).encode()
    checksum = f',\n "crc32c": "{google_crc32c.value(bare):08x}"\n}}'
    store.delete([key])
    store.put(key, bare.removesuffix(b"\n}") + checksum.encode())
    return FrameCache(url).timeline("t")


def a_stream(folder: Path, name: str, start_seconds: float) -> Path:
    place = ("-output_ts_offset", str(start_seconds), "-muxdelay", "0", "-bf", "0")
    return media.make_clip(folder / name, frames=25, extra=place)


def test_timeline_planned_by_older_rules_can_be_read_and_repaired(url: str) -> None:
    match = planned_by_older_rules(url, clips.clip())
    assert len(list(match.frames())) == 45
    open_store(url).delete([keys.frame("t", 7)])
    assert match.verify(repair=True).ok
    assert np.array_equal(match.frame(7).image.shape, match.frame(6).image.shape)


def test_chunk_appended_by_current_rules_starts_at_end_of_last_one(
    url: str, tmp_path: Path
) -> None:
    match = planned_by_older_rules(url, a_stream(tmp_path, "a.ts", 10))
    match.append(a_stream(tmp_path, "b.ts", 13))
    assert [float(chunk.start) for chunk in match.info().chunks] == [0, 1]
    match.append(a_stream(tmp_path, "c.ts", 15))
    assert float(match.info().chunks[2].start) == 3


def test_repair_with_different_frame_count_asks_for_rebuild(url: str) -> None:
    match = planned_by_older_rules(url, clips.clip(), source_frame_count=40, frame_count=45)
    open_store(url).delete([keys.frame("t", 7)])
    report = match.verify(repair=True)
    assert not report.ok
    assert "planned by older rules" in str(report)
    assert "rebuild" in str(report)
