"""Bad input raises an error of its kind, which says what is wrong, where, and what to do next.

Nothing is lost, and nothing is partly visible.
"""

import base64
import io
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest

import media
from framecache import (
    Chunk,
    FrameCache,
    FrameCacheError,
    InvalidId,
    InvalidValue,
    StorePermissionDenied,
    StoreUnavailable,
    Timeline,
    UnreadableChunk,
    functional,
)
from framecache.testing import HookedStore
from outside import (
    everything,
    folder_for_all,
    frame,
    frames_of,
    jpeg_by_pillow,
    library_threads,
    outside,
    picture,
    png_by_pillow,
    without_privileges,
)


def timeline(url: str, timeline_id: str = "t") -> Timeline:
    """Return a new handle, like another program's."""
    return FrameCache(url).timeline(timeline_id)


def one_line(error: BaseException) -> str:
    """Return the message of an error, which fits on a line."""
    text = str(error)
    assert text
    assert "\n" not in text
    assert len(text) < 600
    return text


# Chunks


def _audio_only(path: Path) -> None:
    media.ffmpeg(*("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", "-f", "mp4"), str(path))


def _without_its_index(path: Path) -> None:
    data = clips.clip().read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(3).bytes(50_000))


def _playlist(path: Path) -> None:
    path.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n{clips.clip()}\n#EXT-X-ENDLIST\n"
    )


def _concat_script(path: Path) -> None:
    path.write_text(f"ffconcat version 1.0\nfile '{clips.clip()}'\n")


def _subtitles(path: Path) -> None:
    path.write_text("1\n00:00:00,000 --> 00:00:02,000\nnot a video\n")


BAD_CHUNKS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "one byte": lambda path: path.write_bytes(b"\0"),
    "text": lambda path: path.write_text("this is no video\n" * 500),
    "noise": _noise,
    "zeros": lambda path: path.write_bytes(bytes(100_000)),
    "a picture": lambda path: path.write_bytes(jpeg_by_pillow(1)),
    "a PNG": lambda path: path.write_bytes(png_by_pillow(1)),
    "audio only": _audio_only,
    "an MP4 cut short before its index": _without_its_index,
    "a playlist": _playlist,
    "a concat script": _concat_script,
    "subtitles": _subtitles,
}


@pytest.fixture(params=BAD_CHUNKS)
def bad_chunk(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "bad chunk.mp4"
    BAD_CHUNKS[request.param](path)
    return path


@pytest.mark.parametrize("call", ["extract", "append"])
def test_bad_chunk_is_rejected_and_stores_nothing(
    local_url: str, bad_chunk: Path, call: str
) -> None:
    with pytest.raises(UnreadableChunk) as raised:
        getattr(timeline(local_url), call)([clips.chunks()[0], bad_chunk])
    assert bad_chunk.name in one_line(raised.value).replace("%20", " ")
    assert outside(local_url).list() == []
    assert library_threads() == set()


def test_bad_object_is_rejected_and_stores_nothing(
    local_url: str, memory_url: str, bad_chunk: Path
) -> None:
    outside(memory_url).put("videos/bad.mp4", bad_chunk.read_bytes())
    with pytest.raises(UnreadableChunk, match=f"{memory_url}/videos/bad.mp4"):
        timeline(local_url).extract(f"{memory_url}/videos/bad.mp4")
    assert outside(local_url).list() == []
    assert library_threads() == set()


@pytest.mark.parametrize(
    "name", ["missing.mp4", "no/such/folder/c.mp4", ".", "file.txt/c.mp4", "x" * 300]
)
def test_chunk_path_that_is_not_a_file_is_rejected(
    local_url: str, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file.txt").write_text("a file")
    with pytest.raises(UnreadableChunk) as raised:
        timeline(local_url).extract(tmp_path / name)
    assert str(tmp_path) in one_line(raised.value)
    assert outside(local_url).list() == []


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_device_as_chunk_is_rejected(local_url: str, device: str) -> None:
    with pytest.raises(UnreadableChunk, match=rf"{device}: this is a device or pipe, not a file"):
        timeline(local_url).extract(device)
    assert outside(local_url).list() == []


@pytest.mark.parametrize("kind", ["memory", "s3", pytest.param("ceph", marks=pytest.mark.ceph)])
def test_missing_object_is_rejected(
    kind: str, request: pytest.FixtureRequest, local_url: str
) -> None:
    source = str(request.getfixturevalue(f"{kind}_url"))
    for missing in (f"{source}/videos/missing.mp4", source, f"{source}/"):
        with pytest.raises(UnreadableChunk) as raised:
            timeline(local_url).extract(missing)
        assert missing.rstrip("/") in one_line(raised.value)
    assert outside(local_url).list() == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://127.0.0.1:1/c.mp4",
        "ftp://host/c.mp4",
        "s3://",
        "s3:///c.mp4",
        "c\0.mp4",
        "file://elsewhere/c.mp4",
        "concat:a.mp4|b.mp4",
        "pipe:0",
        "data:video/mp4;base64,AAAA",
    ],
)
def test_invalid_chunk_url_is_rejected(local_url: str, url: str) -> None:
    with pytest.raises((InvalidValue, UnreadableChunk)) as raised:
        timeline(local_url).extract(url)
    assert repr(url)[1:12].rstrip("'") in one_line(raised.value)
    assert outside(local_url).list() == []


@pytest.mark.parametrize(
    "chunks", [None, 7, [None], [7], [["c.mp4"]], {"a": 1}, io.BytesIO(b"c.mp4")]
)
def test_chunks_of_wrong_type_are_rejected(local_url: str, chunks: Any) -> None:  # noqa: ANN401
    with pytest.raises((FrameCacheError, TypeError)):
        timeline(local_url).extract(chunks)
    assert outside(local_url).list() == []


def test_empty_list_of_chunks_is_rejected(local_url: str) -> None:
    with pytest.raises(InvalidValue, match=r"no chunk .*timeline t$"):
        timeline(local_url).extract([])
    assert outside(local_url).list() == []


def test_append_of_no_chunks_to_new_timeline_stores_nothing(local_url: str) -> None:
    with suppress(InvalidValue):
        timeline(local_url).append([])
    assert outside(local_url).list() == []


def test_append_of_no_chunks_to_existing_timeline_changes_nothing(local_url: str) -> None:
    timeline(local_url).extract(clips.chunks()[1])
    before = everything(outside(local_url))
    with suppress(InvalidValue):
        timeline(local_url).append([])
    assert everything(outside(local_url)) == before


@pytest.mark.parametrize("start", [-1, -0.001, float("nan"), float("inf"), "soon", True])
def test_invalid_start_seconds_is_rejected(local_url: str, start: float) -> None:
    path = clips.chunks()[0]
    with pytest.raises(InvalidValue, match=f"start_seconds.*{path.name}"):
        timeline(local_url).extract(Chunk(str(path), start))
    assert outside(local_url).list() == []


def test_truncated_chunk_keeps_its_good_frames(local_url: str, tmp_path: Path) -> None:
    whole = clips.clip(kind="mkv")
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    report = timeline(local_url).extract(path)
    shown = media.ffprobe_frames(path)
    assert 0 < len(shown) < 45
    assert report.frame_count >= report.frames_extracted > 0
    assert report.frames_extracted <= len(shown)
    for read in timeline(local_url).frames():
        assert read.timestamp == pytest.approx(read.sequence / 25, abs=0.001)
        assert clips.nearest(read.image, whole) == read.sequence


def test_chunk_without_read_permission_is_denied() -> None:
    with folder_for_all() as folder:
        path = clips.copy_to(clips.chunks()[0], folder)
        path.chmod(0)
        with without_privileges(), pytest.raises(StorePermissionDenied, match=str(path)):
            timeline(str(folder / "cache")).extract(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"fps": 0},
        {"fps": -5},
        {"fps": float("nan")},
        {"fps": float("inf")},
        {"fps": "fast"},
        {"fps": "1/0"},
        {"fps": [5]},
        {"every": 0},
        {"every": -1},
        {"every": 2.0},
        {"every": "2"},
        {"fps": 5, "every": 2},
        {"fps": 5, "keyframes": True},
        {"every": 2, "keyframes": True},
        {"quality": 0},
        {"quality": 101},
        {"quality": 85.5},
        {"quality": "high"},
        {"workers": 0},
        {"workers": -3},
        {"workers": 1.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("call", ["extract", "rebuild"])
def test_settings_out_of_range_are_rejected_by_name(
    local_url: str, call: str, settings: dict[str, Any]
) -> None:
    if call == "rebuild":
        timeline(local_url).extract(clips.chunks()[1])
    before = everything(outside(local_url))
    arguments = [clips.chunks()[1]] if call == "extract" else []
    with pytest.raises(InvalidValue) as raised:
        getattr(timeline(local_url), call)(*arguments, **settings)
    assert all(name in one_line(raised.value) for name in settings)
    assert everything(outside(local_url)) == before


# Ids

BAD_IDS: list[Any] = [
    "",
    "/",
    "a/b",
    "/a",
    "a/",
    "..",
    "a..b",
    "../a",
    ".",
    ".a",
    "-a",
    "_a",
    "a b",
    "a\n",
    "a\0b",
    "a\x1b[31m",
    "a\\b",
    "a%2fb",
    "a#1",
    "ä",
    "a\u202e",
    "a" * 129,
    "a" * 10_000,
    "a/" * 5_000,
    None,
    7,
    b"a",
    ["a"],
]
IDS = pytest.mark.parametrize("bad", BAD_IDS, ids=lambda value: repr(value)[:20])


def check_refused(call: Callable[[], object], what: str) -> None:
    with pytest.raises(InvalidId) as raised:
        call()
    assert isinstance(raised.value, ValueError)
    text = one_line(raised.value)
    assert what in text
    assert "letters, digits" in text
    assert text.isprintable()


@IDS
def test_invalid_id_is_rejected_before_any_request(memory_url: str, bad: Any) -> None:  # noqa: ANN401
    store = HookedStore(FrameCache(memory_url).store)
    check_refused(lambda: Timeline(store, bad), "timeline_id")
    check_refused(lambda: FrameCache(memory_url).timeline(bad), "timeline_id")
    t = Timeline(store, "t")
    check_refused(lambda: t.overlays(job_id=bad, stage="s"), "job_id")
    check_refused(lambda: t.overlays(job_id="j", stage=bad), "stage")
    good = png_by_pillow(1)
    overlays = t.overlays(job_id="j", stage="s")
    if not isinstance(bad, list):
        named: dict[Any, bytes] = {"good": good, bad: good}
        check_refused(lambda: overlays.save(0, named), "overlay name")
    assert store.requests == []


@IDS
def test_plain_functions_reject_invalid_id(
    tmp_path: Path,
    bad: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", str(tmp_path / "store"))
    png = base64.b64encode(png_by_pillow(1)).decode()
    check_refused(lambda: functional.cache_exists(bad), "timeline_id")
    check_refused(lambda: functional.cache_frames(bad, [frame(0)]), "timeline_id")
    check_refused(lambda: functional.load_cached_frames(bad), "timeline_id")
    check_refused(lambda: functional.load_cached_frames_b64(bad), "timeline_id")
    check_refused(lambda: functional.clear_cache(bad), "timeline_id")
    check_refused(lambda: functional.save_overlays("t", bad, "s", 0, {"o": png}), "job_id")
    check_refused(lambda: functional.load_overlays("t", "j", bad, 0), "stage")
    check_refused(lambda: functional.list_overlay_frames("t", bad, "s"), "job_id")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("good", ["a", "7", "A.b-c_d", "a.b.c", "x" * 128, "match-42", "0_"])
def test_valid_ids_are_accepted(local_url: str, good: str) -> None:
    t = timeline(local_url, good)
    t.write([frame(0)])
    png = png_by_pillow(1, width=48, height=32)
    t.overlays(job_id=good, stage=good).save(0, {good: png})
    assert FrameCache(local_url).timelines() == [good]
    assert t.jobs() == {good: {good: 1}}
    assert t.overlays(job_id=good, stage=good).load(0) == {good: png}


# Overlays


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"no PNG",
        jpeg_by_pillow(1),
        png_by_pillow(1)[:4],
        "",
        "no base64!",
        base64.b64encode(b"no PNG").decode(),
        base64.b64encode(png_by_pillow(1)).decode()[:-6],
        None,
        7,
        [[0, 0], [0, 0]],
        picture(1).astype(np.float32),
        picture(1).astype(np.int32),
        picture(1) > 3,
        picture(1)[:0],
        picture(1)[:, :, :2],
        picture(1)[None],
        picture(1)[0, 0],
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((), np.uint8),
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'shape', repr(value)[:12])}",
)
def test_invalid_overlay_is_rejected_and_none_of_its_call_is_stored(
    local_url: str,
    bad: Any,  # noqa: ANN401
) -> None:
    overlays = timeline(local_url).overlays(job_id="j", stage="s")
    with pytest.raises(InvalidValue) as raised:
        overlays.save(0, {"good": png_by_pillow(1), "bad-one": bad})
    assert "bad-one" in one_line(raised.value)
    assert outside(local_url).list() == []


@pytest.mark.parametrize("sequence", [-1, 1.5, 1.0, "1", None, True, float("nan"), 10**16])
@pytest.mark.parametrize("call", ["save", "load"])
def test_overlay_with_invalid_sequence_is_rejected(
    local_url: str, sequence: int, call: str
) -> None:
    overlays = timeline(local_url).overlays(job_id="j", stage="s")
    arguments = [{"o": png_by_pillow(1)}] if call == "save" else []
    with pytest.raises(InvalidValue, match="sequence"):
        getattr(overlays, call)(sequence, *arguments)
    assert outside(local_url).list() == []


# Stores


@pytest.mark.parametrize(
    "url",
    [
        "http://host/bucket",
        "ftp://host",
        "s3://",
        "s3:///prefix",
        "gs://",
        "redis://x",
        "file://host/folder",
        "s3://bucket name",
        "a\0b",
    ],
)
def test_invalid_store_url_is_rejected(url: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        FrameCache(url)
    assert repr(url)[1:8] in one_line(raised.value)


DRAWN = png_by_pillow(1, width=clips.WIDTH, height=clips.HEIGHT)
OPERATIONS: dict[str, Callable[[Timeline], object]] = {
    "exists": lambda t: t.exists,
    "complete": lambda t: t.complete,
    "info": lambda t: t.info(),
    "len": len,
    "frame": lambda t: t.frame(0),
    "frame_at": lambda t: t.frame_at(0.0),
    "frames": lambda t: list(t.frames()),
    "batch": lambda t: t.batch([0]),
    "jpeg": lambda t: t.jpeg(0),
    "jpegs": lambda t: list(t.jpegs([0])),
    "jobs": lambda t: t.jobs(),
    "write": lambda t: t.write([frame(0)]),
    "extract": lambda t: t.extract(clips.chunks()[1]),
    "append": lambda t: t.append(clips.chunks()[1]),
    "rebuild": lambda t: t.rebuild(),
    "clear": lambda t: t.clear(),
    "delete": lambda t: t.delete(),
    "save overlays": lambda t: t.overlays(job_id="j", stage="s").save(0, {"o": DRAWN}),
    "load overlays": lambda t: t.overlays(job_id="j", stage="s").load(0),
    "list overlays": lambda t: t.overlays(job_id="j", stage="s").frames(),
    "clear overlays": lambda t: t.overlays(job_id="j", stage="s").clear(),
}
EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS)


@pytest.mark.parametrize("kind", ["s3", pytest.param("ceph", marks=pytest.mark.ceph)])
@EVERY_OPERATION
def test_missing_bucket_is_an_error_in_every_operation(
    kind: str, request: pytest.FixtureRequest, operation: str
) -> None:
    url = f"{request.getfixturevalue(f'{kind}_url')}-missing"
    with pytest.raises(StoreUnavailable) as raised:
        OPERATIONS[operation](timeline(url))
    text = one_line(raised.value)
    assert url.removeprefix("s3://") in text
    assert "does not exist" in text
    assert library_threads() == set()


@pytest.mark.ceph
@EVERY_OPERATION
@pytest.mark.parametrize(
    ("variable", "value"),
    [("AWS_SECRET_ACCESS_KEY", "wrong"), ("AWS_ACCESS_KEY_ID", "nobody")],
    ids=["a wrong secret", "an unknown key"],
)
def test_wrong_credentials_are_denied_and_never_a_miss(
    ceph_url: str, monkeypatch: pytest.MonkeyPatch, operation: str, variable: str, value: str
) -> None:
    timeline(ceph_url).write([frame(0)])
    monkeypatch.setenv(variable, value)
    with pytest.raises(StorePermissionDenied) as raised:
        OPERATIONS[operation](timeline(ceph_url))
    text = one_line(raised.value)
    assert ceph_url in text
    assert "testsecret" not in text
    assert library_threads() == set()


@pytest.fixture
def dead_endpoint(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of a server that does not exist."""
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    return s3_url


@pytest.mark.parametrize("operation", ["exists", "frame", "write", "load overlays"])
def test_unreachable_server_error_names_endpoint_setting(
    dead_endpoint: str, operation: str
) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        OPERATIONS[operation](timeline(dead_endpoint))
    text = one_line(raised.value)
    assert dead_endpoint in text
    assert "AWS_ENDPOINT_URL" in text
    assert library_threads() == set()


def test_chunk_on_unreachable_server_stores_nothing(dead_endpoint: str, local_url: str) -> None:
    with pytest.raises(StoreUnavailable, match=f"{dead_endpoint}.*AWS_ENDPOINT_URL"):
        timeline(local_url).extract([clips.chunks()[0], f"{dead_endpoint}/c.mp4"])
    assert outside(local_url).list() == []


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder with a cached timeline and its videos, for tests in which permissions count."""
    with folder_for_all() as folder:
        one, two = (clips.copy_to(path, folder / "videos") for path in clips.chunks()[1:])
        t = timeline(str(folder / "cache"))
        t.extract(one)
        t.overlays(job_id="j", stage="s").save(0, {"o": DRAWN})
        assert two.name == "c2.mp4"
        yield folder / "cache"


@pytest.mark.parametrize(
    "operation", ["append", "rebuild", "clear", "delete", "save overlays", "clear overlays"]
)
def test_read_only_folder_denies_every_change_and_stays_unchanged(
    shared_folder: Path, operation: str
) -> None:
    before = everything(outside(str(shared_folder)))
    another = shared_folder.parent / "videos" / "c2.mp4"
    changes = OPERATIONS | {"append": lambda t: t.append(another)}
    with without_privileges(), pytest.raises(StorePermissionDenied) as raised:
        changes[operation](timeline(str(shared_folder)))
    assert str(shared_folder) in one_line(raised.value)
    assert everything(outside(str(shared_folder))) == before
    assert library_threads() == set()


@pytest.mark.parametrize("operation", ["write", "extract", "save overlays"])
def test_empty_read_only_folder_denies_every_change_and_stays_empty(operation: str) -> None:
    with folder_for_all() as folder:
        path = clips.copy_to(clips.chunks()[1], folder / "videos")
        changes = OPERATIONS | {"extract": lambda t: t.extract(path)}
        with without_privileges(), pytest.raises(StorePermissionDenied) as raised:
            changes[operation](timeline(str(folder)))
        assert str(folder) in one_line(raised.value)
        assert [child.name for child in folder.iterdir()] == ["videos"]


def test_read_only_folder_can_be_read(shared_folder: Path) -> None:
    with without_privileges():
        t = timeline(str(shared_folder))
        assert t.complete
        assert len(list(t.frames())) == 10
        assert t.overlays(job_id="j", stage="s").load(0) == {"o": DRAWN}
        assert FrameCache(shared_folder).timelines() == ["t"]


@pytest.mark.parametrize("operation", ["exists", "info", "frame", "frames", "jobs"])
def test_unreadable_folder_is_denied_and_never_a_miss(shared_folder: Path, operation: str) -> None:
    shared_folder.chmod(0)
    try:
        with without_privileges(), pytest.raises(StorePermissionDenied) as raised:
            OPERATIONS[operation](timeline(str(shared_folder)))
    finally:
        shared_folder.chmod(0o755)
    assert str(shared_folder) in one_line(raised.value)


def test_unreadable_frame_is_denied_and_never_a_miss(shared_folder: Path) -> None:
    (shared_folder / "cache/timelines/t/frames/5.jpg").chmod(0)
    with without_privileges(), pytest.raises(StorePermissionDenied, match=r"frames/5\.jpg"):
        timeline(str(shared_folder)).frame(5)


@pytest.mark.parametrize("operation", ["write", "extract", "save overlays"])
def test_file_in_place_of_store_folder_is_an_error(tmp_path: Path, operation: str) -> None:
    path = tmp_path / "a-file"
    path.write_text("not a folder")
    with pytest.raises(StoreUnavailable) as raised:
        OPERATIONS[operation](timeline(str(path)))
    assert str(path) in one_line(raised.value)
    assert path.read_text() == "not a folder"
    assert library_threads() == set()


@pytest.mark.parametrize("operation", ["write", "extract"])
def test_folder_in_place_of_frame_leaves_nothing_visible(local_url: str, operation: str) -> None:
    in_the_way = Path(local_url) / "cache/timelines/t/frames/0.jpg"
    in_the_way.mkdir(parents=True)
    with pytest.raises(StoreUnavailable, match=r"frames/0\.jpg"):
        OPERATIONS[operation](timeline(local_url))
    # Frames whose key is a folder are committed elsewhere until it is removed.
    shown = timeline(local_url)
    assert not shown.exists or (operation == "write" and shown.frame(0).image.any())
    assert library_threads() == set()
    in_the_way.rmdir()
    OPERATIONS[operation](timeline(local_url))
    assert timeline(local_url).complete
    assert "0.jpg" in frames_of(outside(local_url), "t")
