"""Work on a video ends at limits, also if a few bytes demand more."""

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from framecache._core.manifest import Settings
from framecache._ingest.chunk_plan import place_chunks
from framecache._ingest.chunk_scans import ScannedChunk
from framecache._ingest.trim import Trim
from framecache._media import video
from framecache.errors import UnreadableChunk
from media import ffmpeg, made, make_clip
from sample_clips import clip

PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex")
Tree = list[tuple[bytes, "bytes | Tree"]]


def scan(data: bytes) -> video.VideoScan:
    return video.scan(io.BytesIO(data), name="chunk")


def boxes(data: bytes) -> Tree:
    found: Tree = []
    while data:
        size, kind = int.from_bytes(data[:4], "big"), data[4:8]
        found.append((kind, boxes(data[8:size]) if kind in PARENTS else data[8:size]))
        data = data[size:]
    return found


def built(tree: Tree) -> bytes:
    bodies = [(kind, body if isinstance(body, bytes) else built(body)) for kind, body in tree]
    return b"".join(struct.pack(">I4s", 8 + len(body), kind) + body for kind, body in bodies)


def replaced(tree: Tree, kind: bytes, change: Callable[[bytes], bytes]) -> Tree:
    """Return the same boxes with changed content in those of one kind."""
    return [
        (
            one,
            (change(body if isinstance(body, bytes) else built(body)))
            if one == kind
            else (body if isinstance(body, bytes) else replaced(body, kind, change)),
        )
        for one, body in tree
    ]


def changed(name: str, kind: bytes, change: Callable[[bytes], bytes]) -> bytes:
    data = built(replaced(boxes(clip(name).read_bytes()), kind, change))
    assert data != clip(name).read_bytes()
    return data


ENDLESS_SAMPLES = struct.pack(">III", 0, 1, 80_000_000)
HIDDEN = struct.pack(">I4s", 20, b"stsz") + ENDLESS_SAMPLES
HOSTILE = {
    "samples without bytes": ("h264.mp4", b"stsz", lambda _: ENDLESS_SAMPLES),
    "samples in a fragment": (
        *("fragments.mp4", b"trun"),
        lambda _: struct.pack(">III", 0, 50_000_000, 0),
    ),
    "samples in another depth": ("h264.mp4", b"udta", lambda body: body + HIDDEN),
    "edits that repeat all": (
        *("h264.mp4", b"elst"),
        lambda _: struct.pack(">II", 0, 200_000) + struct.pack(">IIHH", 2000, 0, 1, 0) * 200_000,
    ),
    "tables in a description": ("h264.mp4", b"stsd", lambda body: body + HIDDEN),
    "a compressed index": ("h264.mp4", b"stbl", lambda body: built([(b"cmov", body)])),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_index_that_would_need_gigabytes_is_refused(kind: str) -> None:
    with pytest.raises(
        UnreadableChunk, match=r"^chunk (declares|has).*damaged or hostile.*ffmpeg -i"
    ):
        scan(changed(*HOSTILE[kind]))


_SCANS = """
import io, resource, sys
from framecache._media import video
video.scan(io.BytesIO(open(sys.argv[1], "rb").read()), name="sound")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = video.scan(io.BytesIO(open(sys.argv[2], "rb").read()), name="hostile")
print(len(found.pts), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", ["times", "filepositions"])
def test_huge_declared_flv_index_allocates_no_memory(name: str, tmp_path: Path) -> None:
    sound, hostile = clip("h264-index.flv"), tmp_path / "hostile.flv"
    array = name.encode() + b"\x0a"
    head, found, rest = sound.read_bytes().partition(array)
    assert found
    hostile.write_bytes(head + array + struct.pack(">I", 2**28 - 1) + rest[4:])
    scanned = subprocess.run(
        [sys.executable, "-c", _SCANS, str(sound), str(hostile)],
        check=True,
        capture_output=True,
        text=True,
    )
    frames, kibibytes = map(int, scanned.stdout.split())
    assert frames == 50
    assert kibibytes < 64 << 10


def test_more_boxes_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.limits.MAX_BOXES", 100)
    assert len(scan(clip("h264.mp4").read_bytes()).pts) == 50
    with pytest.raises(UnreadableChunk, match="more than 100 boxes"):
        scan(struct.pack(">I4s", 8, b"free") * 101 + clip("h264.mp4").read_bytes())


def test_deeply_nested_boxes_are_refused_without_a_recursion_error() -> None:
    with pytest.raises(UnreadableChunk):
        scan(changed("h264.mp4", b"udta", lambda _: nested(b"udta", 5000)))


def with_tracks(count: int) -> Callable[[bytes], bytes]:
    def change(movie: bytes) -> bytes:
        tree = boxes(movie)
        track = next(box for box in tree if box[0] == b"trak")
        return built([*tree, *[track] * (count - 1)])

    return change


def test_more_tracks_than_the_limit_are_refused() -> None:
    assert len(scan(changed("no-edit-list.mp4", b"moov", with_tracks(32))).pts) > 0
    with pytest.raises(UnreadableChunk, match="more than 32 tracks besides sound"):
        scan(changed("no-edit-list.mp4", b"moov", with_tracks(33)))


def test_more_streams_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.limits.MAX_STREAMS", 2)
    data = changed("no-edit-list.mp4", b"moov", with_tracks(2))
    assert len(scan(data).pts) > 0
    with pytest.raises(UnreadableChunk, match=r"has more than 2 streams.*-map 0:v"):
        scan(changed("no-edit-list.mp4", b"moov", with_tracks(3)))


def nested(kind: bytes, depth: int) -> bytes:
    return b"".join(struct.pack(">I4s", 8 * (depth - n), kind) for n in range(depth))


def plain_sound(path: Path) -> None:
    sound = ("-f", "lavfi", "-i", "sine=duration=2:sample_rate=48000", "-c:a", "pcm_s16le")
    ffmpeg("-i", str(clip("h264.mp4")), *sound, "-c:v", "copy", str(path))


def test_pcm_audio_is_counted_by_index_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its 96,000 samples is one in the index, of which FFmpeg makes far fewer."""
    data = made("plain-sound.mov", plain_sound).read_bytes()
    monkeypatch.setattr("framecache._media.video.limits.MAX_INDEX_ENTRIES", 2000)
    assert len(scan(data).pts) == 50


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "h264.ts", "mpeg4.avi", "theora.ogg"])
def test_more_frames_than_the_limit_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = clip(name).read_bytes()
    packets = len(scan(data).pts)
    monkeypatch.setattr("framecache._media.video.limits.MAX_FRAMES", packets + 2)
    assert len(scan(data).pts) == packets
    monkeypatch.setattr("framecache._media.video.limits.MAX_FRAMES", packets - 2)
    with pytest.raises(UnreadableChunk, match=rf"more than {packets - 2} packets.*cut it"):
        scan(data)


def test_oversized_packet_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.limits.MAX_PACKET_BYTES", 100)
    with pytest.raises(UnreadableChunk, match=r"packet of \d+ bytes, more than the 100 "):
        scan(clip("h264.mp4").read_bytes())


def test_longer_time_span_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.limits.MAX_SECONDS", 2)
    assert len(scan(clip("h264.mp4").read_bytes()).pts) == 50
    with pytest.raises(UnreadableChunk, match="spans 12 s, more than the 2 of a chunk"):
        scan(clip("h264-long.mp4").read_bytes())


def test_times_near_the_64_bit_limit_are_refused() -> None:
    # The clusters of a Matroska file say the time with up to 8 bytes.
    data = clip("h264.mkv").read_bytes()
    begin = data.rindex(b"\x1f\x43\xb6\x75")
    at = data.index(b"\xe7\x82", begin)
    late = b"\xe7\x88" + (2**63 - 2000).to_bytes(8, "big")
    shifted = data[:at] + late + data[at + 4 :]
    # The cluster keeps its size, so its last packet is cut; the first ones are compared.
    with pytest.raises(UnreadableChunk, match=r"times|spans"):
        scan(shifted)


@pytest.mark.parametrize("name", ["h264.mp4", "h264.ts", "mjpeg.avi"])
def test_stalled_decoding_is_given_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = clip(name).read_bytes()
    found = scan(data)
    monkeypatch.setattr("framecache._media.video.limits.MAX_STALL_SECONDS", -1)
    with pytest.raises(UnreadableChunk, match=r"keeps the decoder busy.*give another video"):
        scan(data)
    with pytest.raises(UnreadableChunk, match="keeps the decoder busy"):
        list(video.decode(io.BytesIO(data), found, found.pts, name="chunk", threads=1))


class Endless(io.BytesIO):
    """Endless file, of which the demuxer skips everything."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size) or bytes([0x47, 0x1F, 0xFF, 0x10] + [0xFF] * 184) * 600


def test_endless_reading_for_one_packet_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.limits.MAX_STALL_SECONDS", 0.5)
    with pytest.raises(UnreadableChunk, match=r"busy for more than 0\.5 s"):
        video.scan(Endless(clip("h264.ts").read_bytes()), name="chunk")


def growing(path: Path) -> None:
    """Pictures of 160x120, from the 26th on of 320x240."""
    parts = []
    for number, size in enumerate([(160, 120), (320, 240)]):
        shift = ("-output_ts_offset", str(number), "-muxdelay", "0")
        part = path.with_name(f"growing-{number}.ts")
        make_clip(part, size=size, frames=25, extra=("-tune", "zerolatency", *shift))
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize(("limit", "value"), [("MAX_PIXELS", 200 * 128), ("MAX_SIDE", 160)])
def test_pictures_that_grow_beyond_the_limit_are_undecodable(
    limit: str, value: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made("growing.ts", growing).read_bytes()
    found = scan(data)
    assert len(found.pts) == 50
    monkeypatch.setattr(f"framecache._media.video.limits.{limit}", value)
    items = list(video.decode(io.BytesIO(data), found, found.pts, name="chunk", threads=threads))
    decoded = [isinstance(item, video.Decoded) for item in items]
    assert decoded == [True] * 25 + [False] * 25


def test_wider_pictures_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.limits.MAX_SIDE", 159)
    with pytest.raises(UnreadableChunk, match="160x120"):
        scan(clip("h264.mp4").read_bytes())


def test_chunks_with_incommensurable_time_bases_are_refused() -> None:
    """Their sum does not fit into a manifest, since each chunk adds digits to it."""
    found = scan(clip("h264.mp4").read_bytes())
    chunks = [
        ScannedChunk(f"{n}.mp4", "etag", 1, None, Trim(), scanned, scanned)
        for n in range(60)
        for scanned in [replace(found, time_base=Fraction(1, 2**31 - n))]
    ]
    assert len(place_chunks(chunks[:20], after=(), settings=Settings())) == 20
    with pytest.raises(UnreadableChunk, match="no common measure"):
        place_chunks(chunks, after=(), settings=Settings())
