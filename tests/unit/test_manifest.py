"""Manifests are stored and read unchanged, and damaged ones are refused."""

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache._core import manifest
from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Compaction, Settings
from framecache._core.sampling import AtRate
from framecache.errors import CorruptFrame, SettingsConflict, UnreadableChunk
from framecache.model import JpegSettings

CHUNK = ChunkEntry(
    chunk_id=0,
    url="file:///videos/c0.mp4",
    etag="abc",
    size_bytes=1234,
    start=Fraction(1001, 30000),
    end=Fraction(5),
    start_is_given=False,
    first_sequence=0,
    frame_count=10,
    first_source_frame=0,
    source_frame_count=100,
    width=640,
    height=272,
    codec="h264",
)
SETTINGS = Settings(AtRate(Fraction(5)), JpegSettings(90))
MANIFEST = manifest.first_manifest("t", SETTINGS, chunks=(CHUNK,)).next_version(
    compaction=Compaction(2, ("000000",))
)


def test_decoded_manifest_equals_the_encoded_one() -> None:
    assert manifest.decode(MANIFEST.encode(), key="k") == MANIFEST


def test_chunk_of_older_manifest_is_placed_after_the_previous_end() -> None:
    body = MANIFEST.encode()
    (chunk,) = json.loads(body)["chunks"]
    older = (
        *("chunk_id", "url", "etag", "size_bytes", "start", "end", "start_is_given"),
        *("first_sequence", "frame_count", "first_source_frame", "source_frame_count"),
        *("width", "height", "codec"),
    )
    chunks = [{name: chunk[name] for name in older}]
    read = manifest.decode(with_checksum(body, chunks=chunks), key="k").chunks[0]
    assert (read.scan_rules, read.placement, read.clock_end) == (1, "end", None)
    assert (read.start, read.end, read.given_start) == (CHUNK.start, CHUNK.end, None)


def test_manifest_without_aspect_has_stored_pixels() -> None:
    document = json.loads(MANIFEST.encode())
    del document["aspect"], document["crc32c"]
    checksum = google_crc32c.value(json.dumps(document, indent=1).encode())
    older = json.dumps(document | {"crc32c": f"{checksum:08x}"}, indent=1).encode()
    assert manifest.decode(older, key="k").settings == SETTINGS


def test_aspect_square_survives_a_round_trip() -> None:
    settings = Settings(AtRate(Fraction(5)), JpegSettings(90, "square"))
    wide = replace(CHUNK, sample_aspect_ratio=Fraction(16, 15))
    wide_manifest = manifest.first_manifest("t", settings, chunks=(wide,))
    assert manifest.decode(wide_manifest.encode(), key="k") == wide_manifest


def test_frame_size_of_too_wide_square_pixels_is_refused() -> None:
    wide = replace(CHUNK, sample_aspect_ratio=Fraction(4000))
    with pytest.raises(UnreadableChunk, match='extract it with aspect "stored"'):
        wide.frame_size(JpegSettings(aspect="square"))
    assert wide.frame_size(JpegSettings()) == (CHUNK.width, CHUNK.height)


def test_next_epoch_drops_compaction_and_keeps_chunks_and_settings() -> None:
    following = MANIFEST.next_epoch()
    assert following.version == MANIFEST.version + 1
    assert following.epoch != MANIFEST.epoch
    assert following.compaction is None
    assert (following.chunks, following.settings) == (MANIFEST.chunks, MANIFEST.settings)


def test_first_manifests_have_different_epochs() -> None:
    epochs = {manifest.first_manifest("t", SETTINGS).epoch for _ in range(100)}
    assert len(epochs) == 100


@given(st.data())
def test_damaged_manifest_is_corrupt(data: st.DataObject) -> None:
    body = MANIFEST.encode()
    position = data.draw(st.integers(0, len(body) - 1))
    damaged = data.draw(
        st.sampled_from([body[:position], body[:position] + b"\x00" + body[position + 1 :]])
    )
    try:
        read = manifest.decode(damaged, key="k")
    except CorruptFrame as error:
        assert "k is damaged" in str(error)  # noqa: PT017 -- either outcome is checked
    else:
        assert read == MANIFEST


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b"\xff", b'{"format": "x"}'])
def test_invalid_manifest_is_refused_with_the_repair_command(body: bytes) -> None:
    with pytest.raises(CorruptFrame, match="framecache verify TIMELINE --repair"):
        manifest.decode(body, key="k")


@pytest.mark.parametrize(
    ("changes", "stored_format"),
    [
        ({}, 1),
        ({"trim_start": Fraction(1)}, 2),
        ({"trim_stop": Fraction(1)}, 2),
        ({"listed_from": "tables"}, 2),
    ],
)
def test_manifest_that_earlier_versions_would_misread_has_a_newer_format(
    changes: dict[str, Any], stored_format: int
) -> None:
    stored = replace(MANIFEST, chunks=(replace(CHUNK, **changes),))
    assert json.loads(stored.encode())["format"] == stored_format
    assert manifest.decode(stored.encode(), key="k") == stored


def test_newer_format_asks_for_an_upgrade() -> None:
    with pytest.raises(SettingsConflict, match="upgrade framecache"):
        manifest.decode(with_checksum(MANIFEST.encode(), format=99), key="k")


def test_changed_entry_does_not_match_the_checksum() -> None:
    assert with_checksum(MANIFEST.encode()) == MANIFEST.encode()
    other = MANIFEST.encode().replace(b'"version": 2', b'"version": 3')
    assert other != MANIFEST.encode()
    with pytest.raises(CorruptFrame):
        manifest.decode(other, key="k")


def with_checksum(body: bytes, **changes: object) -> bytes:
    """Return a manifest with some entries changed, and with a matching checksum."""
    document = json.loads(body) | changes
    del document["crc32c"]
    checksum = google_crc32c.value(json.dumps(document, indent=1).encode())
    return json.dumps(document | {"crc32c": f"{checksum:08x}"}, indent=1).encode()


@pytest.mark.parametrize(
    "body",
    [b"[" * 200_000, b'{"a":' * 200_000, with_checksum(MANIFEST.encode(), compaction=[[]] * 3)],
)
def test_nonsense_manifest_is_corrupt(body: bytes) -> None:
    with pytest.raises(CorruptFrame):
        manifest.decode(body, key="k")


def test_deeply_nested_manifest_with_valid_checksum_is_corrupt() -> None:
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    with pytest.raises(CorruptFrame, match="InvalidDocument"):
        manifest.decode(with_checksum(MANIFEST.encode(), extra=deep), key="k")


def divided(**changes: Any) -> bytes:  # noqa: ANN401 -- the fields' own types
    """Return a manifest of a chunk of two segments, with changes to its entry."""
    chunk = replace(
        MANIFEST.chunks[0],
        time_base=Fraction(1, 25),
        first_pts=0,
        frame_count=10,
        segment_starts=(0, 5),
        segment_pts=(5,),
    )
    chunk = replace(chunk, **changes)
    return replace(MANIFEST, chunks=(chunk,), compaction=None).encode()


def test_segments_of_a_manifest_are_read_as_they_were_stored() -> None:
    (chunk,) = manifest.decode(divided(), key="k").chunks
    assert [(one.part, one.frame_count) for one in chunk.segments] == [
        ("000000s000000", 5),
        ("000000s000001", 5),
    ]
    assert chunk.segments[1].start == chunk.start + Fraction(1, 5)
    assert chunk.segments[1].end == chunk.end


@pytest.mark.parametrize(
    "changes",
    [
        {"segment_starts": ()},
        {"segment_starts": (1, 5)},
        {"segment_starts": (0, 5, 5), "segment_pts": (5, 6)},
        {"segment_starts": (0, 10)},
        {"segment_starts": (0, 5.0)},
        {"segment_starts": (0, "5")},
        {"segment_pts": ()},
        {"segment_pts": (0,)},
        {"segment_pts": (5, 6)},
        {"time_base": None},
        {"first_pts": None},
    ],
)
def test_manifest_with_impossible_segments_is_damaged(changes: dict[str, Any]) -> None:
    with pytest.raises(CorruptFrame):
        manifest.decode(divided(**changes), key="k")
