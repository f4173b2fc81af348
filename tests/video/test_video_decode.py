"""Any frames of a video are decoded, with the same result in all circumstances."""

import gc
import hashlib
import io
import itertools
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from framecache._media import video
from framecache._media.video.decoder_outputs import list_decoder_outputs
from media import ffmpeg, real_clip
from sample_clips import clip

SOUND = [
    "h264.mp4",
    "h264.ts",
    "h264.avi",
    "h264-open.ts",
    "h264-open-cut.mp4",
    "h264-interlaced.ts",
    "hevc.mp4",
    "hevc-cut.ts",
    "vp8.webm",
    "vp9.webm",
    "vp9-hidden.webm",
    "av1.mp4",
    "mjpeg.avi",
    "mpeg4.avi",
    "mpeg2-interlaced.ts",
    "theora.ogg",
    "vfr.mp4",
    "edit-list.mp4",
    "negative.ts",
    "negative.mkv",
    "odd.webm",
    "one-frame.mp4",
    "from-the-middle.ts",
]
DAMAGED = [
    "cut-short.mp4",
    "cut-short.ts",
    "cut-short-hevc.mp4",
    "cut-short-vp9.mp4",
    "cut-short-mjpeg.mp4",
    "garbage.mp4",
    "garbage.ts",
    "garbage-hevc.mp4",
    "garbage-vp9.mp4",
    "garbage-av1.mp4",
    "garbage-mjpeg.mp4",
    "spoilt.mp4",
    "spoilt.mkv",
    "spoilt.ts",
    "spoilt-open.ts",
    "spoilt-vp9.mp4",
    "spoilt-av1.mp4",
    "spoilt-mjpeg.mp4",
    "spoilt-mpeg4.avi",
]
SAMPLED = [
    "h264-long.mp4",
    "h264-long.ts",
    "h264-long-open.ts",
    "hevc-long.mp4",
    "mjpeg.mp4",
    "vp8.webm",
    "spoilt.mp4",
    "spoilt-mjpeg.mp4",
]

Result = dict[int, str]


def scan(path: Path) -> video.VideoScan:
    with path.open("rb") as file:
        return video.scan(file, name=path.name)


def decode(path: Path, wanted: Sequence[int] | None = None, *, threads: int = 1) -> Result:
    """Decode frames; return by PTS a digest of the planes, or the reason why there are none."""
    found = scan(path)
    pts = found.pts if wanted is None else np.array(wanted, np.int64)
    with path.open("rb") as file:
        items = list(video.decode(file, found, pts, name=path.name, threads=threads))
    assert [item.pts for item in items] == sorted(set(pts.tolist()))
    return {item.pts: digest(item) for item in items}


def digest(item: video.Decoded | video.Undecodable) -> str:
    if isinstance(item, video.Undecodable):
        return item.reason
    picture = item.to_planes()
    return digest_of(picture.y.tobytes() + picture.u.tobytes() + picture.v.tobytes())


def digest_of(planes: bytes) -> str:
    return hashlib.sha256(planes).hexdigest()


def is_reason(text: str) -> bool:
    return text.partition(":")[0] in {"decoder", "damaged"} or text.startswith("the file ends")


def undecodable(results: Result) -> list[int]:
    return [pts for pts, text in results.items() if is_reason(text)]


@pytest.mark.parametrize("name", SOUND)
def test_every_frame_of_an_intact_video_is_decoded(name: str) -> None:
    assert undecodable(decode(clip(name), threads=3)) == []


@pytest.mark.parametrize("name", ["h264.mp4", "vp9.webm", "mjpeg.mp4", "edit-list.mp4", "h264.ts"])
def test_planes_match_those_of_ffmpeg(name: str) -> None:
    raw = ffmpeg("-i", str(clip(name)), "-fps_mode", "passthrough", "-f", "rawvideo", "-")
    size = 160 * 120 * 3 // 2
    expected = [digest_of(raw[at : at + size]) for at in range(0, len(raw), size)]
    assert list(decode(clip(name)).values()) == expected


@pytest.mark.parametrize("name", [*SOUND, *DAMAGED])
def test_one_thread_and_eight_give_the_same_frames(name: str) -> None:
    assert decode(clip(name), threads=1) == decode(clip(name), threads=8)


@pytest.mark.parametrize("step", [1, 7, 45, 1000])
@pytest.mark.parametrize("name", SAMPLED)
def test_frames_do_not_depend_on_the_selection(name: str, step: int) -> None:
    everything = decode(clip(name))
    wanted = list(everything)[3::step]
    assert decode(clip(name), wanted, threads=2) == {pts: everything[pts] for pts in wanted}


@pytest.mark.parametrize("name", SAMPLED)
def test_keyframes_decoded_alone_equal_those_of_the_whole(name: str) -> None:
    found, everything = scan(clip(name)), decode(clip(name))
    keys = found.pts[found.is_key].tolist()
    assert decode(clip(name), keys, threads=2) == {pts: everything[pts] for pts in keys}


@pytest.mark.parametrize("name", ["h264-long.mp4", "h264-long.ts", "hevc-long.mp4"])
@pytest.mark.parametrize(("after", "at_most"), [(0, 2), (5, 16)])
def test_sparse_frames_cost_only_the_packets_they_depend_on(
    name: str, after: int, at_most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from framecache._media.video.container import Container, VideoPacket  # noqa: PLC0415 - internals

    sent: list[VideoPacket | None] = []
    decode_one = Container.decode

    def counted(self: Container, packet: VideoPacket | None) -> object:
        sent.append(packet)
        return decode_one(self, packet)

    found = scan(clip(name))
    wanted = found.pts[np.flatnonzero(found.is_random_access)[2:-1:3] + after]
    assert len(wanted) > 1
    monkeypatch.setattr(Container, "decode", counted)
    with clip(name).open("rb") as file:
        items = list(video.decode(file, found, wanted, name=name, threads=1))
    assert all(isinstance(item, video.Decoded) for item in items)
    assert len(sent) <= at_most * len(wanted)


def test_decoding_stops_after_the_last_selected_frame() -> None:
    path = clip("h264-long.mp4")
    found = scan(path)
    with path.open("rb") as file:
        list(video.decode(file, found, found.pts[:5], name="clip", threads=1))
        # FFmpeg reads ahead by as much as its buffer holds.
        assert file.tell() < path.stat().st_size


def test_frames_may_be_selected_in_any_order_and_twice() -> None:
    path = clip("h264.mp4")
    times = scan(path).pts.tolist()
    assert list(decode(path, [times[9], times[2], times[9]])) == [times[2], times[9]]


def test_empty_selection_gives_no_frames() -> None:
    assert decode(clip("h264.mp4"), []) == {}


def test_time_after_the_end_of_the_file_is_undecodable() -> None:
    result = decode(clip("h264.mp4"), [scan(clip("h264.mp4")).end_pts + 5])
    assert list(result.values()) == ["the file ends before it"]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("garbage.mp4", "h264.mp4"),
        ("garbage-hevc.mp4", "hevc.mp4"),
        ("garbage-vp9.mp4", "vp9.mp4"),
        ("garbage-av1.mp4", "av1.mp4"),
        ("garbage-mjpeg.mp4", "mjpeg.mp4"),
    ],
)
def test_frames_before_garbage_are_kept_and_the_rest_is_undecodable(name: str, source: str) -> None:
    sound, spoilt = decode(clip(source)), decode(clip(name))
    good = [pts for pts, text in spoilt.items() if not is_reason(text)]
    assert len(good) >= len(sound) * 0.4
    assert len(undecodable(spoilt)) >= len(sound) * 0.2
    assert max(spoilt) == max(undecodable(spoilt))
    # The picture in which garbage begins may decode to something, and no decoder notices.
    assert len([pts for pts in good if spoilt[pts] != sound[pts]]) <= 1


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("which", range(21, 39, 3))
@pytest.mark.parametrize(
    ("name", "keep"),
    [
        ("h264.mp4", 0.5),
        ("h264-open.mp4", 0.5),
        ("hevc.mp4", 0.0),
        ("vp9.mp4", 0.0),
    ],
)
def test_damaged_packet_spoils_only_the_frames_that_depend_on_it(
    name: str, keep: float, which: int, threads: int
) -> None:
    path = clip(name)
    found, sound = scan(path), decode(path)
    damaged = without_packet(path, which, keep=keep)
    spoilt = decode(damaged, threads=threads)
    lost = undecodable(spoilt)
    assert lost
    assert {pts: spoilt[pts] for pts in spoilt if pts not in lost} == {
        pts: sound[pts] for pts in sound if pts not in lost
    }
    keys = found.pts[found.is_key].tolist()
    assert keys[0] not in lost
    assert any(pts >= keys[2] for pts in spoilt if pts not in lost)


@pytest.mark.parametrize("name", ["h264-open.mp4", "h264-simple.mp4"])
def test_threaded_decoding_reports_all_damage_that_one_thread_reports(name: str) -> None:
    # A race between threads shows only now and then.
    damaged = without_packet(clip(name), 33, keep=0.5)
    noticed = undecodable(decode(damaged, threads=1))
    assert noticed
    assert all(undecodable(decode(damaged, threads=8)) == noticed for _ in range(25))


@pytest.mark.parametrize("name", ["cut-short-vp9.mp4", "cut-short-mjpeg.mp4"])
def test_frame_cut_off_by_the_end_of_the_file_is_undecodable(name: str) -> None:
    results = decode(clip(name))
    assert undecodable(results) == [max(results)]


def test_damaged_motion_jpeg_picture_is_undecodable() -> None:
    path = clip("mjpeg.mp4")
    damaged = without_packet(path, 7, keep=0.5)
    assert undecodable(decode(damaged)) == [int(scan(path).pts[7])]


def without_packet(path: Path, which: int, *, keep: float) -> Path:
    """A copy in which only a share of the ``which``-th packet is kept; the rest is zeros."""
    import av  # noqa: PLC0415 - to find the bytes of a packet

    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        position, size = packets[which].pos, packets[which].size
    assert position is not None
    # The first bytes are the length of what follows them.
    begin = position + max(int(size * keep), 4)
    data[begin : position + size] = bytes(position + size - begin)
    damaged = path.with_name(f"damaged-{path.name}")
    damaged.write_bytes(data)
    return damaged


def test_decoder_reads_ahead_only_a_bounded_amount() -> None:
    path = real_clip("bikes.mp4")
    found = scan(path)
    with path.open("rb") as file:
        items = video.decode(file, found, found.pts, name="bikes", threads=2)
        first = list(itertools.islice(items, 3))
        assert file.tell() < path.stat().st_size / 2
        assert [item.pts for item in first] == found.pts[:3].tolist()


@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4"])
def test_every_frame_of_a_real_clip_is_decoded(name: str) -> None:
    path = real_clip(name)
    assert undecodable(decode(path, decimated(scan(path).pts.tolist()), threads=2)) == []


def decimated(times: Iterable[int]) -> list[int]:
    return list(times)[::10]


def test_decoding_leaves_no_reference_cycles_or_threads() -> None:
    def decode_all() -> None:
        with clip("h264.mp4").open("rb") as file:
            found = video.scan(file, name="clip")
            for item in video.decode(file, found, found.pts, name="clip", threads=2):
                assert isinstance(item, video.Decoded)
                item.to_planes()

    # Generation 0 has all objects made while collection is off, and none of the other tests.
    decode_all()
    gc.collect(0)
    gc.disable()
    try:
        threads = len(list(Path("/proc/self/task").iterdir()))
        decode_all()
        assert gc.collect(0) == 0
        assert len(list(Path("/proc/self/task").iterdir())) <= threads
    finally:
        gc.enable()


def test_concurrent_decoders_keep_their_packet_numbers_separate() -> None:
    data = clip("mpeg4.avi").read_bytes()

    def order(_: int) -> list[int]:
        outputs = list_decoder_outputs(io.BytesIO(data), name="chunk")
        return [picture.packet for picture in outputs.pictures]

    with ThreadPoolExecutor(4) as pool:
        orders = list(pool.map(order, range(40)))
    assert sorted(orders[0]) == list(range(30))
    assert orders == orders[:1] * 40
