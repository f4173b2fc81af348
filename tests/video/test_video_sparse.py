"""A few frames of a video take little work, and equal those of a full decode."""

import hashlib
import io
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pytest

from framecache._media import video
from framecache._media.video.container import Container, VideoPacket
from framecache._media.video.random_access import RandomAccessFinder
from framecache.errors import UnreadableChunk
from media import ffprobe
from sample_clips import clip, clip_names

UNNOTICED = {"spoilt-hevc.mp4"}
UNSURE = {"hevc", "mjpeg", "vp8"}
"""Codecs whose decoders do not notice some damage, and show what memory held before instead."""
DAMAGEABLE = [
    "h264.mp4",
    "h264.mkv",
    "h264.ts",
    "h264-open.mp4",
    "h264-long.mp4",
    "h264-seconds.ts",
    "h264-refresh.mp4",
    "hevc.mp4",
    "vp8.webm",
    "vp9.mp4",
    "av1.mp4",
    "mjpeg.mp4",
]

Result = dict[int, str]


def scan(data: bytes) -> video.VideoScan:
    return video.scan(io.BytesIO(data), name="chunk")


def decode(data: bytes, found: video.VideoScan, wanted: Sequence[int], *, threads: int) -> Result:
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


def samples(found: video.VideoScan, dice: Random) -> list[list[int]]:
    """Return sets of PTS to decode: at even strides, keyframes, a few at random, a single one."""
    pts = found.pts.tolist()
    strides = [dice.randint(2, 12), dice.randint(13, 60)]
    few = dice.sample(pts, min(len(pts), dice.randint(1, 8)))
    return [
        *(pts[dice.randrange(stride) :: stride] for stride in strides),
        found.pts[found.is_key].tolist(),
        few,
        [dice.choice(pts)],
    ]


@pytest.mark.parametrize("name", [name for name in clip_names() if name not in UNNOTICED])
def test_frames_decoded_alone_equal_those_decoded_among_all(name: str) -> None:
    data = clip(name).read_bytes()
    found = scan(data)
    everything = decode(data, found, found.pts.tolist(), threads=1)
    for seed in range(2):
        dice = Random(f"{name} {seed}")
        for wanted in samples(found, dice):
            alone = decode(data, found, wanted, threads=dice.choice((1, 2, 8)))
            assert alone == {pts: everything[pts] for pts in wanted}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", DAMAGEABLE)
def test_damage_is_the_same_for_every_selection_of_frames(name: str, seed: int) -> None:
    dice = Random(f"{name} {seed}")
    data = damaged(clip(name).read_bytes(), dice)
    try:
        found = scan(data)
    except UnreadableChunk:
        return
    everything = noticed(found, decode(data, found, found.pts.tolist(), threads=1))
    for wanted in samples(found, dice):
        alone = noticed(found, decode(data, found, wanted, threads=dice.choice((1, 2, 8))))
        assert alone == {pts: everything[pts] for pts in wanted}


def noticed(found: video.VideoScan, result: Result) -> Result:
    """Return the result, without pictures that may show uninitialized memory."""
    if found.codec not in UNSURE:
        return result
    return {pts: text if ":" in text else "decoded" for pts, text in result.items()}


def damaged(data: bytes, dice: Random) -> bytes:
    """Flip some bits and clear some bytes, except for the first eighth."""
    changed, begin = bytearray(data), len(data) // 8
    for _ in range(dice.choice((0, 1, 3, 10))):
        changed[dice.randrange(begin, len(data))] ^= 1 << dice.randrange(8)
    for _ in range(dice.choice((0, 1, 1, 2))):
        at, length = dice.randrange(begin, len(data)), dice.choice((8, 188, 600))
        changed[at : at + length] = bytes(len(changed[at : at + length]))
    return bytes(changed)


def test_frames_dropped_at_a_keyframe_are_missing_when_selected_alone() -> None:
    data = clip("hevc-dropping.ts").read_bytes()
    found = scan(data)
    everything = decode(data, found, found.pts.tolist(), threads=1)
    lost = [pts for pts, text in everything.items() if ":" in text]
    assert lost
    assert all(decode(data, found, [pts], threads=1) == {pts: everything[pts]} for pts in lost)


class Counted:
    """Counter of the packets that are sent to decoders."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packets = 0
        decode_one = Container.decode

        def counted(container: Container, packet: VideoPacket | None) -> object:
            self.packets += packet is not None
            return decode_one(container, packet)

        monkeypatch.setattr(Container, "decode", counted)


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("name", ["h264-seconds.mp4", "h264-seconds.mkv", "h264-seconds.ts"])
def test_one_keyframe_a_second_costs_one_packet_each(
    name: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = clip(name).read_bytes()
    found = scan(data)
    counted = Counted(monkeypatch)
    frames = decode(data, found, found.pts[::30].tolist(), threads=threads)
    assert len(frames) == 10
    assert counted.packets == 10


def test_group_is_not_decoded_beyond_its_selected_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    data = clip("h264-seconds.mp4").read_bytes()
    found = scan(data)
    counted = Counted(monkeypatch)
    decode(data, found, found.pts[9::30].tolist(), threads=1)
    # Up to two pictures are decoded before one that is shown before them.
    assert 10 * 10 <= counted.packets <= 10 * 12


def test_hevc_decoding_starts_at_keyframes_with_leading_pictures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = clip("hevc-long.mp4").read_bytes()
    found = scan(data)
    counted = Counted(monkeypatch)
    keys = found.pts[found.is_key].tolist()
    decode(data, found, keys, threads=1)
    assert counted.packets == len(keys) == 10


def test_damaged_keyframe_costs_no_more_than_a_second_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = clip("h264-seconds.mp4")
    data = bytearray(path.read_bytes())
    packets = ffprobe(path, "-show_packets")["packets"]
    at, size = int(packets[90]["pos"]), int(packets[90]["size"])
    data[at + size // 2 : at + size] = bytes(size - size // 2)
    found = scan(bytes(data))
    counted = Counted(monkeypatch)
    frames = decode(bytes(data), found, found.pts[::30].tolist(), threads=2)
    assert [pts for pts, text in frames.items() if ":" in text] == [found.pts[90]]
    # The keyframe that is damaged is decoded a second time.
    assert counted.packets <= 12


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("h264-refresh.ts", 1),
        ("h264-refresh.mp4", 1),
        ("h264-open.mp4", 1),
        ("h264-all-keys.mp4", 3),
        ("hevc-dropping.ts", 0),
        ("hevc-closed.ts", 3),
        ("prores.mov", 20),
    ],
)
def test_random_access_points_are_those_of_the_codec_not_of_the_container(
    name: str, entries: int
) -> None:
    assert scan(clip(name).read_bytes()).is_random_access.sum() == entries


@pytest.mark.parametrize("pts", [40, 600, 1160])
def test_frame_with_the_time_of_a_hidden_one_is_decoded(pts: int) -> None:
    data = clip("vp8.webm").read_bytes()
    found = scan(data)
    everything = decode(data, found, found.pts.tolist(), threads=1)
    assert decode(data, found, [pts], threads=1) == {pts: everything[pts]}


SPS, PPS, OTHER_PPS = b"\x67sps", b"\x68pps", b"\x68other"
IDR, INTER = b"\x65\x88\x84", b"\x41\x9a\x24"
AVC_CONFIGURATION = (
    b"\1\x64\0\x1f\xff\xe1" + len(SPS).to_bytes(2) + SPS + b"\1" + len(PPS).to_bytes(2) + PPS
)


def sized(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4) + unit for unit in units)


def marked(*units: bytes) -> bytes:
    return b"".join(b"\0\0\0\1" + unit for unit in units)


def entries(codec: str, extradata: bytes | None, *packets: bytes) -> list[bool]:
    finder = RandomAccessFinder(codec, extradata)
    for packet in packets:
        finder.inspect(packet, has_new_extradata=False)
    return [bool(begins) for begins in finder.mask()]


@pytest.mark.parametrize(
    ("pack", "extradata"), [(sized, AVC_CONFIGURATION), (marked, marked(SPS, PPS))]
)
def test_packet_after_possibly_missed_parameter_sets_is_not_a_random_access_point(
    pack: Callable[..., bytes], extradata: bytes
) -> None:
    assert entries(
        "h264",
        extradata,
        pack(IDR),
        pack(PPS, INTER),
        pack(SPS, PPS, IDR),
        pack(PPS, IDR),
        pack(OTHER_PPS, INTER),
        pack(IDR),
        pack(PPS, IDR),
        pack(SPS, PPS, IDR),
    ) == [True, False, True, True, False, False, False, True]


def test_long_sei_messages_before_a_slice_do_not_hide_it() -> None:
    message = b"\x06" + b"\x55" * 10_000
    assert entries("h264", marked(SPS, PPS), marked(message, SPS, PPS, IDR)) == [True]


def test_new_extradata_invalidates_all_random_access_points() -> None:
    finder = RandomAccessFinder("h264", AVC_CONFIGURATION)
    finder.inspect(sized(IDR), has_new_extradata=False)
    finder.inspect(sized(IDR), has_new_extradata=True)
    assert finder.mask().tolist() == [False, False]


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp8", "vp9", "av1", "mjpeg", "mpeg4", "ffv1"])
def test_random_bytes_are_not_random_access_points(codec: str) -> None:
    dice = Random(codec)
    for extradata in (None, b"", b"\1", b"\1\0\0", dice.randbytes(30), AVC_CONFIGURATION):
        assert entries(codec, extradata, b"\0") == [False]
        entries(codec, extradata, *(dice.randbytes(dice.randint(1, 40)) for _ in range(200)))


def test_motion_jpeg_picture_without_tables_is_not_a_random_access_point() -> None:
    data = clip("mjpeg.avi").read_bytes()
    begin = data.index(b"\xff\xd8")
    packet = data[begin : data.index(b"\xff\xd9", begin) + 2]
    tables = packet.index(b"\xff\xc4")
    size = int.from_bytes(packet[tables + 2 : tables + 4])
    without = packet[:tables] + packet[tables + 2 + size :]
    assert entries("mjpeg", None, packet, without) == [True, False]
