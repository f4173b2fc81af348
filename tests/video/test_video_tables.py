"""Videos described by their sample tables are described as by a scan, or scanned."""

import hashlib
import io
import struct
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pytest

from framecache._media import video
from framecache._media.video.sample_check import SampleCheck, SampleRanges
from framecache.errors import UnreadableChunk
from media import ffprobe
from sample_clips import clip, clip_names
from table_clips import big_clip, changed, entry_at, fragmented_clip, uint32

MP4_NAMES = [name for name in clip_names() if name.endswith((".mp4", ".mov"))]
TRUSTED = [
    *("h264.mp4", "h264-simple.mp4", "h264-long.mp4", "h264-seconds.mp4", "hevc.mp4", "vp9.mp4"),
    *("hevc-long.mp4", "av1.mp4", "edit-list.mp4", "no-edit-list.mp4", "late.mp4", "turned-90.mp4"),
]
SCANNED = [
    *("h264-open.mp4", "h264-open-cut.mp4", "h264-refresh.mp4", "h264-all-keys.mp4"),
    *("cut-short.mp4", "garbage.mp4"),
]
FOUND_WHILE_DECODING = {"garbage-hevc.mp4"}
"""Damage in packets that are not read to list the frames."""


@pytest.fixture(autouse=True)
def use_tables_of_small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.scanning._MIN_TABLES_FILE_BYTES", 0)


class CountingFile(io.BytesIO):
    """File that records the ranges that are read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.ranges: list[tuple[int, int]] = []

    def read(self, size: int | None = -1, /) -> bytes:
        begin = self.tell()
        data = super().read(size)
        self.ranges.append((begin, begin + len(data)))
        return data

    def size_read(self) -> int:
        """The number of distinct bytes that were read."""
        total = end = 0
        for begin, stop in sorted(self.ranges):
            total += max(stop - max(begin, end), 0)
            end = max(end, stop)
        return total


def scan(data: bytes) -> video.VideoScan:
    return video.scan(io.BytesIO(data), name="chunk")


def describe(data: bytes) -> video.VideoScan:
    return video.describe(io.BytesIO(data), name="chunk")


def decode(
    data: bytes, found: video.VideoScan, wanted: Sequence[int], *, threads: int = 1
) -> dict[int, str]:
    """Decode frames; return by PTS a digest of the planes, or the reason why there are none."""
    pts = np.array(wanted, np.int64)
    items = video.decode(io.BytesIO(data), found, pts, name="chunk", threads=threads)
    return {item.pts: digest(item) for item in items}


def digest(item: video.Decoded | video.Undecodable) -> str:
    if isinstance(item, video.Undecodable):
        return item.reason
    picture = item.to_planes()
    planes = (picture.y, picture.u, picture.v)
    return hashlib.sha256(b"".join(plane.tobytes() for plane in planes)).hexdigest()


def assert_same(described: video.VideoScan, scanned: video.VideoScan) -> None:
    assert described.has_same_frames(scanned)
    assert described.is_random_access.tolist() == scanned.is_random_access.tolist()
    assert described.earliest_pts.tolist() == scanned.earliest_pts.tolist()


@pytest.mark.parametrize("name", [name for name in MP4_NAMES if name not in FOUND_WHILE_DECODING])
def test_description_equals_that_of_a_scan(name: str) -> None:
    data = clip(name).read_bytes()
    assert_same(describe(data), scan(data))


@pytest.mark.parametrize("name", TRUSTED)
def test_ordinary_file_is_described_by_its_tables(name: str) -> None:
    assert describe(clip(name).read_bytes()).samples is not None


@pytest.mark.parametrize("name", SCANNED)
def test_file_whose_packets_decide_is_scanned(name: str) -> None:
    assert describe(clip(name).read_bytes()).samples is None


def test_small_file_is_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    data = clip("h264.mp4").read_bytes()
    monkeypatch.setattr("framecache._media.video.scanning._MIN_TABLES_FILE_BYTES", len(data) + 1)
    assert describe(data).samples is None


@pytest.mark.parametrize("name", ["h264-seconds.mp4", "hevc-long.mp4", "vp9.mp4", "av1.mp4"])
def test_times_and_samples_are_those_of_ffprobe(name: str) -> None:
    path = clip(name)
    found = describe(path.read_bytes())
    packets = ffprobe(path, "-show_entries", "packet=pts,dts,pos,size,flags")["packets"]
    samples = found.samples
    assert samples is not None
    assert samples.pts.tolist() == [int(one["pts"]) for one in packets]
    assert samples.dts.tolist() == [int(one["dts"]) for one in packets]
    assert samples.offset.tolist() == [int(one["pos"]) for one in packets]
    assert samples.size_bytes.tolist() == [int(one["size"]) for one in packets]
    assert samples.is_sync.tolist() == ["K" in one["flags"] for one in packets]
    frames = ffprobe(path, "-show_entries", "frame=pts")["frames"]
    assert found.pts.tolist() == [int(one["pts"]) for one in frames]


@pytest.mark.parametrize("name", [name for name in MP4_NAMES if name not in FOUND_WHILE_DECODING])
def test_frames_equal_those_decoded_by_a_scan(name: str) -> None:
    data = clip(name).read_bytes()
    found, dice = describe(data), Random(name)
    pts = found.pts.tolist()
    everything = decode(data, scan(data), pts)
    stride = dice.randint(2, 40)
    few = dice.sample(pts, min(len(pts), 3))
    for wanted in (pts, pts[::stride], few, found.pts[found.is_key].tolist()):
        chosen = decode(data, found, wanted, threads=dice.choice((1, 2, 8)))
        assert chosen == {one: everything[one] for one in wanted}


def test_unneeded_media_data_is_not_read() -> None:
    data = big_clip().read_bytes()
    describing, decoding = CountingFile(data), CountingFile(data)
    found = video.describe(describing, name="chunk")
    samples = found.samples
    assert samples is not None
    assert describing.size_read() < len(data) / 4
    wanted = found.pts[[130, 250]]
    assert len(list(video.decode(decoding, found, wanted, name="chunk", threads=1))) == 2
    # Groups of 25 frames, of which the first six of one and the first of another are needed.
    needed = {*range(125, 131 + 3), 250}
    begins = {int(samples.offset[one]) for one in needed}
    media_begin, media_end = samples.media[0]
    # FFmpeg reads the beginning whenever it opens a file.
    beginning = int(samples.offset[25])
    read = {
        one
        for one in samples.offset.tolist()
        if one > beginning and any(begin <= one < end for begin, end in decoding.ranges)
    }
    assert media_begin <= min(begins) < max(begins) < media_end
    assert read <= begins
    assert int(samples.offset[125]) in read


def test_fragments_that_are_not_needed_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.masked_file._BEGINNING_BYTES", 300_000)
    data = fragmented_clip().read_bytes()
    found = describe(data)
    samples = found.samples
    assert samples is not None
    assert len(samples.media) > 5
    decoding = CountingFile(data)
    [item] = video.decode(decoding, found, found.pts[[260]], name="chunk", threads=1)
    assert isinstance(item, video.Decoded)
    between = samples.offset[50:250].tolist()
    assert not any(begin <= one < end for one in between for begin, end in decoding.ranges)


# Tables that lie.


def _far_offset(data: bytes) -> bytes:
    return changed(data, entry_at(data, b"stco", 5), 2**31)


def _overlapping_offsets(data: bytes) -> bytes:
    at = entry_at(data, b"stco", 6)
    return changed(data, at, uint32(data, at - 4))


def _swapped_offsets(data: bytes) -> bytes:
    at = entry_at(data, b"stco", 6)
    return changed(changed(data, at, uint32(data, at - 4)), at - 4, uint32(data, at))


def _offsets_of_the_sound(data: bytes) -> bytes:
    at = entry_at(data, b"stco", 6)
    return changed(data, at, uint32(data, entry_at(data, b"stco", 6, nth=1)))


def _negative_duration(data: bytes) -> bytes:
    return changed(data, entry_at(data, b"stts", 0, width=8) + 4, -5)


def _equal_times(data: bytes) -> bytes:
    return changed(data, entry_at(data, b"stts", 0, width=8) + 4, 0)


def _large_size(data: bytes) -> bytes:
    return changed(data, entry_at(data, b"stsz", 40), 2**27)


def _shifted_size(data: bytes) -> bytes:
    at = entry_at(data, b"stsz", 40)
    return changed(data, at, uint32(data, at) - 3)


def _wrong_sync_sample(data: bytes) -> bytes:
    return changed(data, entry_at(data, b"stss", 3), 80)


def _no_sync_table(data: bytes) -> bytes:
    return data.replace(b"stss", b"free")


def _swapped_composition(data: bytes) -> bytes:
    at = entry_at(data, b"ctts", 9, width=8) + 4
    return changed(changed(data, at, uint32(data, at + 8)), at + 8, uint32(data, at))


_LIES: list[Callable[[bytes], bytes]] = [
    *(_far_offset, _overlapping_offsets, _swapped_offsets, _offsets_of_the_sound),
    *(_negative_duration, _equal_times, _large_size, _shifted_size, _wrong_sync_sample),
    *(_no_sync_table, _swapped_composition),
]

_SEEN_AT_ONCE = [
    *(_far_offset, _overlapping_offsets, _offsets_of_the_sound, _negative_duration),
    *(_equal_times, _large_size, _no_sync_table),
]


def describe_and_decode(data: bytes) -> dict[int, str]:
    found = describe(data)
    return decode(data, found, found.pts.tolist())


def assert_same_frames_or_contradiction(data: bytes) -> None:
    """Assert that frames are those of a scan, or that decoding finds the contradiction."""
    try:
        scanned = scan(data)
    except UnreadableChunk:
        with pytest.raises((UnreadableChunk, video.TablesContradicted)):
            describe_and_decode(data)
        return
    expected = decode(data, scanned, scanned.pts.tolist())
    found = describe(data)
    try:
        frames = decode(data, found, found.pts.tolist())
    except video.TablesContradicted:
        assert found.samples is not None
        return
    assert frames == expected
    assert found.has_same_frames(scanned)


@pytest.mark.parametrize("lie", _LIES, ids=lambda lie: lie.__name__.strip("_"))
def test_lying_tables_give_the_frames_of_a_scan_or_a_contradiction(
    lie: Callable[[bytes], bytes],
) -> None:
    data = lie(big_clip().read_bytes())
    assert_same_frames_or_contradiction(data)


@pytest.mark.parametrize("lie", _SEEN_AT_ONCE, ids=lambda lie: lie.__name__.strip("_"))
def test_tables_that_contradict_themselves_are_not_trusted(lie: Callable[[bytes], bytes]) -> None:
    try:
        assert describe(lie(big_clip().read_bytes())).samples is None
    except UnreadableChunk as error:
        assert "damaged" in str(error)  # noqa: PT017 -- both are fine


@pytest.mark.parametrize("flags", ["frag_keyframe+empty_moov", "dash+global_sidx"])
@pytest.mark.parametrize("seed", range(4))
def test_damaged_lists_of_fragments_change_nothing(
    flags: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framecache._media.video.mp4._LARGE_MEDIA_BYTES", 2**14)
    data, dice = bytearray(fragmented_clip(flags).read_bytes()), Random(seed)
    at = data.rindex(b"tfra") if b"tfra" in data else data.index(b"sidx")
    for _ in range(20):
        data[dice.randrange(at + 12, at + 150)] = dice.randrange(256)
    described = describe(bytes(data))
    assert described.has_same_frames(scan(bytes(data)))


def test_list_of_fragments_beyond_any_file_changes_nothing() -> None:
    data = fragmented_clip("dash+global_sidx").read_bytes()
    at = data.index(b"sidx") + 4
    assert data[at] == 1
    first_offset = at + 20
    lying = data[:first_offset] + b"\xff" * 8 + data[first_offset + 8 :]
    assert scan(lying).has_same_frames(scan(data))


def test_table_of_2_to_32_entries_is_refused() -> None:
    data = big_clip().read_bytes()
    with pytest.raises(UnreadableChunk, match="declares at least"):
        describe(changed(data, entry_at(data, b"stsz", 0) - 4, -1))


@pytest.mark.parametrize("seed", range(12))
def test_damaged_tables_give_the_frames_of_a_scan_or_a_contradiction(seed: int) -> None:
    dice = Random(seed)
    data = bytearray(clip("h264-long.mp4").read_bytes())
    begin = data.index(b"stts")
    for _ in range(dice.choice((1, 2, 5))):
        data[dice.randrange(begin, len(data))] ^= 1 << dice.randrange(8)
    assert_same_frames_or_contradiction(bytes(data))


def test_sync_sample_that_is_none_is_a_contradiction() -> None:
    data = big_clip().read_bytes()
    lie = changed(data, entry_at(data, b"stss", 3), 80)
    found = describe(lie)
    assert found.samples is not None
    wanted = found.pts[[90]].tolist()
    with pytest.raises(video.TablesContradicted, match="rebuild the timeline"):
        decode(lie, found, wanted)


def test_mark_that_the_first_packets_contradict_is_seen_at_once() -> None:
    data = big_clip().read_bytes()
    assert describe(changed(data, entry_at(data, b"stss", 1), 2)).samples is None


def test_swapped_times_are_a_contradiction() -> None:
    data = clip("h264-long.mp4").read_bytes()
    at = entry_at(data, b"ctts", 3, width=8) + 4
    step = 512
    assert uint32(data, at - 4) == uint32(data, at + 4) == 1
    lie = changed(changed(data, at, uint32(data, at + 8) + step), at + 8, uint32(data, at) - step)
    found = describe(lie)
    assert found.samples is not None
    assert sorted(found.pts.tolist()) == sorted(scan(data).pts.tolist())
    with pytest.raises(video.TablesContradicted):
        decode(lie, found, found.pts.tolist())


def test_picture_that_is_not_later_than_the_one_before_is_not_admitted() -> None:
    samples = describe(clip("h264-long.mp4").read_bytes()).samples
    assert samples is not None
    needed = SampleRanges(samples, [(None, samples.pts.tolist())])
    check = SampleCheck(samples, needed, "h264", None)
    check.begin_run()
    assert check.admits_picture(1024)
    assert check.admits_picture(1536)
    assert not check.admits_picture(512)
    assert not check.admits_picture(None)
    check.begin_run()
    assert check.admits_picture(512)


def test_sample_without_a_picture_is_a_contradiction() -> None:
    data = bytearray(big_clip().read_bytes())
    samples = describe(bytes(data)).samples
    assert samples is not None
    at, size = int(samples.offset[85]), int(samples.size_bytes[85])
    # A unit of filler data (type 12) as long as the sample.
    data[at : at + size] = struct.pack(">I", size - 4) + b"\x0c" + b"\xff" * (size - 6) + b"\x80"
    found = describe(bytes(data))
    assert found.samples is not None
    with pytest.raises(video.TablesContradicted):
        decode(bytes(data), found, found.pts.tolist())


def test_damaged_picture_is_no_contradiction() -> None:
    data = bytearray(big_clip().read_bytes())
    samples = describe(bytes(data)).samples
    assert samples is not None
    at = int(samples.offset[85])
    data[at + 60 : at + 400] = bytes(340)
    found = describe(bytes(data))
    assert found.samples is not None
    frames = decode(bytes(data), found, found.pts.tolist())
    assert frames == decode(bytes(data), scan(bytes(data)), found.pts.tolist())
    assert any(":" in text or " " in text for text in frames.values())
