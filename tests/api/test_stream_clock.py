"""Chunks of one stream are placed by its clock, and others one after another.

The expected times are ffprobe's of the whole stream, from which the chunks were cut.
"""

import struct
from collections.abc import Sequence
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import media
from framecache import Chunk, ChunkTiming, ExtractReport, FrameCache, InvalidValue, Timeline

_RATE = 25
_NUMBERS = count()
_CODED = ("-c:v", "libx264", "-bf", "0", "-preset", "veryfast", "-pix_fmt", "yuv420p")
_STILL = "lt(mod(t,4),1)"
"""Pictures for a second, then none for three."""


def timeline() -> Timeline:
    return FrameCache(f"memory://stream-clock-{next(_NUMBERS)}").timeline("t")


def encode(path: Path, *options: str, seconds: float = 2, picked: str = "1") -> Path:
    source = f"testsrc2=size=64x48:rate={_RATE}:duration={seconds}"
    chosen = ("-vf", f"select='{picked}'", "-fps_mode", "passthrough")
    media.ffmpeg("-f", "lavfi", "-i", source, *chosen, *_CODED, *options, str(path))
    return path


def times(path: Path) -> list[float]:
    frames = media.ffprobe_frames(path)
    return [float(frame.timestamp - frames[0].timestamp) for frame in frames]


def segments(folder: Path, picked: str) -> tuple[Path, list[Path]]:
    """A stream of 12 s and the segments that a recorder makes of it."""
    whole = encode(
        folder / "whole.ts",
        "-force_key_frames",
        "expr:gte(t,n_forced*2)",
        seconds=12,
        picked=picked,
    )
    cut = ("-f", "segment", "-segment_time", "2", "-segment_format", "mpegts")
    media.ffmpeg("-i", str(whole), "-c", "copy", "-copyts", *cut, str(folder / "s%02d.ts"))
    return whole, sorted(folder.glob("s*.ts"))


def starting_at(folder: Path, name: str, seconds: float, **settings: float) -> Path:
    """Encode two seconds of a stream whose first picture has the given time."""
    place = ("-output_ts_offset", str(seconds), "-muxdelay", "0", "-muxpreload", "0")
    return encode(folder / name, *place, "-f", "mpegts", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("picked", ["1", _STILL, "lt(mod(t,4),1)+eq(mod(n,25),0)"])
def test_segments_of_stream_keep_times_of_whole_stream(tmp_path: Path, picked: str) -> None:
    whole, parts = segments(tmp_path, picked)
    match = timeline()
    match.extract(parts)
    assert len(parts) > 2
    assert match.index.timestamp == pytest.approx(times(whole), abs=1e-9)


def test_segments_appended_one_by_one_equal_one_extraction(tmp_path: Path) -> None:
    _, parts = segments(tmp_path, _STILL)
    at_once, grown = timeline(), timeline()
    at_once.extract(parts, fps=3)
    for part in parts:
        if grown.info().chunks:
            grown.append(part)
        else:
            grown.extract([part], fps=3)
    assert grown.index.timestamp.tolist() == at_once.index.timestamp.tolist()
    assert grown.index.pts.tolist() == at_once.index.pts.tolist()


def test_fragments_with_header_are_placed_by_clock(tmp_path: Path) -> None:
    playlist = ("-f", "hls", "-hls_time", "1", "-hls_segment_type", "fmp4", "-hls_list_size", "0")
    names = ("-hls_segment_filename", str(tmp_path / "s%d.m4s"), "-g", "25")
    encode(tmp_path / "list.m3u8", *playlist, *names, seconds=4)
    header = (tmp_path / "init.mp4").read_bytes()
    parts = []
    for number in (0, 1, 3):
        part = tmp_path / f"c{number}.mp4"
        part.write_bytes(header + (tmp_path / f"s{number}.m4s").read_bytes())
        parts.append(part)
    match = timeline()
    report = match.extract(parts)
    starts = [float(chunk.start) for chunk in match.info().chunks]
    assert starts == [0, 1, 3]
    assert report.timing == (
        ChunkTiming(2, report.timing[0].url, placement="clock", clock_gap_seconds=1.0),
    )
    assert report.timing[0].notes == ("gap of 1.000 s to the previous chunk",)


def placed(*chunks: Path | Chunk) -> tuple[list[float], ExtractReport]:
    match = timeline()
    report = match.extract(list(chunks))
    return [round(float(chunk.start), 6) for chunk in match.info().chunks], report


def test_small_overlap_shortens_previous_frame(tmp_path: Path) -> None:
    first = encode(tmp_path / "a.ts", "-muxdelay", "0", picked="lt(n,2)+eq(n,25)")
    second = starting_at(tmp_path, "b.ts", times(first)[-1] + 0.02)
    match = timeline()
    report = match.extract([first, second])
    assert match.index.timestamp[3] == pytest.approx(times(first)[-1] + 0.02)
    assert match.index.duration[2] == pytest.approx(0.02)
    assert "overlap of" in report.timing[0].notes[0]


@pytest.mark.parametrize("fps", [5, Fraction(30000, 1001)])
def test_instant_in_overlap_is_sampled_once(tmp_path: Path, fps: Fraction) -> None:
    first = starting_at(tmp_path, "a.ts", 10)
    second = starting_at(tmp_path, "b.ts", 11.97)
    at_once, grown = timeline(), timeline()
    at_once.extract([first, second], fps=fps)
    grown.extract([first], fps=fps)
    grown.append(second)
    for match in (at_once, grown):
        assert (np.diff(match.index.timestamp) > 0).all()
        expected = len({int(t * fps) for t in np.arange(0, 3.97, 1e-4).tolist()})
        assert abs(len(match) - min(expected, 100)) <= 1


@pytest.mark.parametrize(("second", "start"), [(11.0, 2.0), (9.0, 2.0), (23.0, 2.0), (21.5, 11.5)])
def test_clock_gap_longer_than_limit_is_not_kept(
    tmp_path: Path, second: float, start: float
) -> None:
    parts = starting_at(tmp_path, "a.ts", 10), starting_at(tmp_path, "b.ts", second)
    starts, report = placed(*parts)
    assert starts == [0, start]
    assert report.timing[0].clock_gap_seconds == pytest.approx(second - 12, abs=1e-4)
    assert ("not kept" in report.timing[0].notes[0]) == (start == 2.0)


def test_long_clock_gap_is_kept_with_start_by_pts(tmp_path: Path) -> None:
    first, second = starting_at(tmp_path, "a.ts", 10), starting_at(tmp_path, "b.ts", 72)
    third = starting_at(tmp_path, "c.ts", 74)
    match = timeline()
    match.extract([first, Chunk(str(second), start_seconds="pts"), third])
    assert [float(chunk.start) for chunk in match.info().chunks] == [0, 62, 64]
    match.extract([first, Chunk(str(second), start_seconds="pts"), third])
    match.rebuild()
    assert [float(chunk.start) for chunk in match.info().chunks] == [0, 62, 64]


def test_clock_may_wrap_between_two_chunks(tmp_path: Path) -> None:
    turn = 2**33 / 90_000
    starts, _ = placed(starting_at(tmp_path, "a.ts", turn - 2), starting_at(tmp_path, "b.ts", 1.0))
    assert starts == [0, pytest.approx(3.0, abs=1e-4)]


def test_start_by_pts_without_common_clock_is_rejected(tmp_path: Path) -> None:
    first, second = encode(tmp_path / "a.mp4"), encode(tmp_path / "b.mp4")
    with pytest.raises(InvalidValue, match="cannot be placed by its PTS"):
        placed(first, Chunk(str(second), start_seconds="pts"))


def test_start_by_pts_inside_previous_chunk_is_rejected(tmp_path: Path) -> None:
    first, second = starting_at(tmp_path, "a.ts", 10), starting_at(tmp_path, "b.ts", 11)
    with pytest.raises(InvalidValue, match=r"begins 1\.000 s before the previous chunk ends"):
        placed(first, Chunk(str(second), start_seconds="pts"))


def with_sound(folder: Path, suffix: str, *, sound: float, picked: str = "1") -> Path:
    source = f"testsrc2=size=64x48:rate={_RATE}:duration=2"
    path = folder / f"sound.{suffix}"
    media.ffmpeg(
        *("-f", "lavfi", "-i", source, "-f", "lavfi", "-i", f"sine=duration={sound}"),
        *("-vf", f"select='{picked}'", "-fps_mode", "passthrough", *_CODED, str(path)),
    )
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_chunk_ends_with_longer_audio(tmp_path: Path, suffix: str) -> None:
    first = with_sound(tmp_path, suffix, sound=4)
    starts, _ = placed(first, encode(tmp_path / "b.webm", "-c:v", "libvpx"))
    assert starts[1] == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_last_audio_block_does_not_delay_next_chunk(tmp_path: Path, suffix: str) -> None:
    first = with_sound(tmp_path, suffix, sound=2.02)
    starts, _ = placed(first, encode(tmp_path / "b.webm", "-c:v", "libvpx"))
    assert starts[1] == 2


@pytest.mark.parametrize("has_programs", [False, True])
def test_audio_on_another_clock_does_not_extend_chunk(
    tmp_path: Path,
    has_programs: bool,  # noqa: FBT001 -- a parameter
) -> None:
    own, other = encode(tmp_path / "own.ts"), tmp_path / "both.ts"
    sound = ("-itsoffset", "40000", "-f", "lavfi", "-i", "sine=duration=4")
    programs = ("-program", "st=0", "-program", "st=1") if has_programs else ()
    media.ffmpeg(
        *("-i", str(own), *sound, "-map", "0", "-map", "1", "-c:v", "copy"),
        *(*programs, "-max_interleave_delta", "0", str(other)),
    )
    starts, report = placed(other, encode(tmp_path / "b.webm", "-c:v", "libvpx"))
    assert starts == [0, 2]
    assert report.timing == ()


def test_wrong_duration_in_header_is_ignored(tmp_path: Path) -> None:
    first = encode(tmp_path / "a.mkv")
    data = first.read_bytes()
    at = data.index(b"\x44\x89\x88") + 3
    first.write_bytes(data[:at] + struct.pack(">d", 36_000_000.0) + data[at + 8 :])
    starts, _ = placed(first, encode(tmp_path / "b.webm", "-c:v", "libvpx"))
    assert starts == [0, 2]


@pytest.mark.parametrize("fps", [None, 1, 5])
def test_chunk_appended_after_audio_equals_one_extraction(tmp_path: Path, fps: int | None) -> None:
    tail = ("-output_ts_offset", "10", "-muxdelay", "0", "-muxpreload", "0")
    source = f"testsrc2=size=64x48:rate={_RATE}:duration=2"
    first = tmp_path / "a.ts"
    media.ffmpeg(
        *("-f", "lavfi", "-i", source, "-f", "lavfi", "-i", "sine=duration=6"),
        *(*_CODED, *tail, str(first)),
    )
    second = starting_at(tmp_path, "b.ts", 13)
    at_once, grown = timeline(), timeline()
    at_once.extract([first, second], fps=fps)
    grown.extract([first], fps=fps)
    grown.append(second)
    assert grown.index.timestamp.tolist() == at_once.index.timestamp.tolist()
    assert at_once.info().chunks[1].start == 3
    assert float(at_once.info().chunks[0].end) == 3


def test_truncated_file_is_reported(tmp_path: Path) -> None:
    whole = encode(tmp_path / "a.mp4", "-movflags", "+faststart", "-g", "5")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    report = timeline().extract(whole)
    assert 0 < report.frame_count < 50
    assert report.timing[0].is_cut_short
    assert "cut short: frames are missing at its end" in report.timing[0].notes


def test_start_seconds_may_lie_in_trailing_audio(tmp_path: Path) -> None:
    first = with_sound(tmp_path, "mp4", sound=4)
    second = encode(tmp_path / "b.mp4")
    starts, _ = placed(first, Chunk(str(second), start_seconds=2.5))
    assert starts == [0, 2.5]
    with pytest.raises(InvalidValue, match="must be in time order"):
        placed(first, Chunk(str(second), start_seconds=1.5))


def test_segment_cut_before_keyframe_keeps_its_start(tmp_path: Path) -> None:
    _, parts = segments(tmp_path, "1")
    parts[1].write_bytes(_from_middle(parts[1:3]))
    match = timeline()
    report = match.extract([parts[0], parts[1]])
    shown = media.ffprobe_frames(parts[1])
    first = media.ffprobe_frames(parts[0])[0].timestamp
    begins = match.info().chunks[1].start
    assert begins == shown[0].timestamp - first
    (timing,) = report.timing
    assert timing.clock_gap_seconds == pytest.approx(float(begins) - 2, abs=1e-6)
    assert timing.packets_not_displayed > 0


def _from_middle(parts: Sequence[Path]) -> bytes:
    """Join the end of one segment and all of the next, as a delayed recorder does."""
    first, second = (part.read_bytes() for part in parts)
    packets = len(first) // 188
    return first[: 3 * 188] + first[packets // 2 * 188 :] + second
