"""The plain functions, as pipelines call them, and what other programs find in the store."""

import base64
import dataclasses
import inspect
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clips
import imagehash
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import JpegImagePlugin

from framecache import CorruptFrame, Frame, FrameCache, InvalidValue, SettingsConflict, functional
from framecache.functional import (
    cache_exists,
    cache_frames,
    clear_cache,
    frames_to_b64,
    list_overlay_frames,
    load_cached_frames,
    load_cached_frames_b64,
    load_overlays,
    save_overlays,
)
from outside import (
    Outside,
    everything,
    frame,
    frames_of,
    jpeg_by_pillow,
    mean_error,
    outside,
    picture,
    pixels_by_pillow,
    png_by_pillow,
)

HASH = "0123456789abcdef"


@pytest.fixture(
    params=[
        "memory",
        "local",
        "s3",
        pytest.param("ceph", marks=pytest.mark.ceph),
        "S3_BUCKET",
        "default bucket",
    ],
)
def blobs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Outside:
    """The empty store that the environment names, as other programs see it."""
    monkeypatch.delenv("FRAMECACHE_URL", raising=False)
    monkeypatch.delenv("S3_BUCKET", raising=False)
    by_bucket = request.param in ("S3_BUCKET", "default bucket")
    url = str(request.getfixturevalue("s3_url" if by_bucket else f"{request.param}_url"))
    if request.param == "S3_BUCKET":
        monkeypatch.setenv("S3_BUCKET", url.removeprefix("s3://"))
    elif request.param == "default bucket":
        url = "s3://mpr"
        outside(url).make_empty()
    else:
        monkeypatch.setenv("FRAMECACHE_URL", url)
    return outside(url)


@pytest.fixture
def folder(local_url: str, monkeypatch: pytest.MonkeyPatch) -> Outside:
    """Like ``blobs``, in a local folder: for behavior that all stores share."""
    monkeypatch.setenv("FRAMECACHE_URL", local_url)
    return outside(local_url)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (cache_exists, ["timeline_id"]),
        (cache_frames, ["timeline_id", "frames", ("quality", 85)]),
        (load_cached_frames, ["timeline_id"]),
        (load_cached_frames_b64, ["timeline_id"]),
        (save_overlays, ["timeline_id", "job_id", "stage", "seq", "overlays"]),
        (load_overlays, ["timeline_id", "job_id", "stage", "seq"]),
        (list_overlay_frames, ["timeline_id", "job_id", "stage"]),
        (clear_cache, ["timeline_id"]),
        (frames_to_b64, ["frames", ("quality", 75)]),
    ],
)
def test_function_has_the_signature_of_the_contract(
    function: Callable[..., Any], parameters: list[str | tuple[str, int]]
) -> None:
    found = inspect.signature(function).parameters.values()
    assert [
        p.name if p.default is inspect.Parameter.empty else (p.name, p.default) for p in found
    ] == parameters
    assert {p.kind for p in found} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}


def test_module_docstring_names_the_store_variables() -> None:
    docstring = functional.__doc__ or ""
    assert "$FRAMECACHE_URL" in docstring
    assert "$S3_BUCKET" in docstring


def test_module_has_the_nine_functions_of_the_contract() -> None:
    functions = {
        name
        for name, value in vars(functional).items()
        if inspect.isfunction(value)
        and value.__module__ == functional.__name__
        and not name.startswith("_")
    }
    assert functions == {
        "cache_exists",
        "cache_frames",
        "clear_cache",
        "frames_to_b64",
        "list_overlay_frames",
        "load_cached_frames",
        "load_cached_frames_b64",
        "load_overlays",
        "save_overlays",
    }


def test_empty_store_has_no_frames_and_no_overlays(blobs: Outside) -> None:
    assert cache_exists("t") is False
    assert load_cached_frames("t") == []
    assert load_cached_frames_b64("t") == []
    assert load_overlays("t", "job", "stage", 0) is None
    assert list_overlay_frames("t", "job", "stage") == []
    clear_cache("t")
    assert blobs.list() == []


def test_loaded_frames_are_sorted_and_keep_their_metadata(blobs: Outside) -> None:
    given = [
        frame(10, chunk_id=2, timestamp=3.25, perceptual_hash=HASH),
        frame(2, chunk_id=1, timestamp=0.1, perceptual_hash="f" * 16),
        frame(0, chunk_id=0, timestamp=0.0, perceptual_hash="0" * 16),
    ]
    assert cache_frames("t", given) == 3
    assert cache_exists("t") is True
    loaded = load_cached_frames("t")
    assert [(f.sequence, f.chunk_id, f.timestamp, f.perceptual_hash) for f in loaded] == [
        (0, 0, 0.0, "0" * 16),
        (2, 1, 0.1, "f" * 16),
        (10, 2, 3.25, HASH),
    ]
    stored = frames_of(blobs, "t")
    for one in loaded:
        assert one.image.shape == (32, 48, 3)
        assert one.image.dtype == np.uint8
        assert mean_error(one.image, pixels_by_pillow(stored[f"{one.sequence}.jpg"])) <= 0.5
        assert mean_error(one.image, picture(one.sequence)) <= 3


def test_stored_frames_are_jpegs_named_by_sequence(blobs: Outside) -> None:
    cache_frames("match-42", [frame(n, width=33, height=17) for n in (0, 7, 12, 100)])
    stored = frames_of(blobs, "match-42")
    assert sorted(stored) == ["0.jpg", "100.jpg", "12.jpg", "7.jpg"]
    for name, data in stored.items():
        with Pillow.open(io.BytesIO(data)) as image:
            assert isinstance(image, JpegImagePlugin.JpegImageFile)
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (33, 17))
            assert JpegImagePlugin.get_sampling(image) == 2, "4:2:0"
        number = int(name.removesuffix(".jpg"))
        assert mean_error(pixels_by_pillow(data), picture(number, width=33, height=17)) <= 3


def test_b64_frames_are_the_stored_bytes(blobs: Outside) -> None:
    cache_frames("t", [frame(n, timestamp=n / 3) for n in (11, 3, 2)])
    stored = frames_of(blobs, "t")
    assert load_cached_frames_b64("t") == [
        {"seq": n, "timestamp": n / 3, "jpeg_b64": b64(stored[f"{n}.jpg"])} for n in (2, 3, 11)
    ]


def test_b64_frames_can_be_sent_as_json(folder: Outside) -> None:
    cache_frames("t", [frame(0), frame(1)])
    encoded = load_cached_frames_b64("t")
    assert json.loads(json.dumps(encoded)) == encoded
    assert folder.list()


def test_overlays_load_byte_for_byte(blobs: Outside) -> None:
    # Bytes after a PNG's end are kept too: nothing is encoded again.
    edges, mask = png_by_pillow(1), png_by_pillow(2) + b"trailing"
    save_overlays("t", "job-1", "edges", 7, {"edge_overlay": b64(edges), "mask": b64(mask)})
    assert load_overlays("t", "job-1", "edges", 7) == {
        "edge_overlay": b64(edges),
        "mask": b64(mask),
    }
    prefix = "cache/timelines/t/overlays/job-1/edges/"
    assert everything(blobs) == {
        f"{prefix}7_edge_overlay.png": edges,
        f"{prefix}7_mask.png": mask,
    }


@pytest.mark.parametrize("name", ["a_b", "a__b_", "1_2", "7", "v1.2-x_y", "x" * 128])
def test_overlay_keeps_its_name(folder: Outside, name: str) -> None:
    save_overlays("t", "job", "stage", 7, {name: b64(png_by_pillow(0))})
    assert load_overlays("t", "job", "stage", 7) == {name: b64(png_by_pillow(0))}
    assert list_overlay_frames("t", "job", "stage") == [7]
    assert folder.list() == [f"cache/timelines/t/overlays/job/stage/7_{name}.png"]


def test_overlays_are_separate_per_frame_stage_and_job(blobs: Outside) -> None:
    for seq, stage, job in [(1, "s", "j"), (11, "s", "j"), (1, "s2", "j"), (1, "s", "j-2")]:
        save_overlays("t", job, stage, seq, {"o": b64(png_by_pillow(len(blobs.list())))})
    assert load_overlays("t", "j", "s", 1) == {"o": b64(png_by_pillow(0))}
    assert load_overlays("t", "j", "s", 11) == {"o": b64(png_by_pillow(1))}
    assert load_overlays("t", "j", "s2", 1) == {"o": b64(png_by_pillow(2))}
    assert load_overlays("t", "j-2", "s", 1) == {"o": b64(png_by_pillow(3))}
    assert load_overlays("t", "j", "s", 2) is None
    assert load_overlays("t2", "j", "s", 1) is None


def test_frames_with_overlays_are_listed_once_in_sequence_order(blobs: Outside) -> None:
    png = b64(png_by_pillow(0))
    for seq in (10, 2, 100):
        save_overlays("t", "j", "s", seq, {"one": png, "an_other": png})
    assert list_overlay_frames("t", "j", "s") == [2, 10, 100]
    assert len(blobs.list()) == 6


def test_second_save_replaces_overlay_and_keeps_the_others(folder: Outside) -> None:
    first, second = b64(png_by_pillow(1)), b64(png_by_pillow(2))
    save_overlays("t", "j", "s", 0, {"a": first, "b": first})
    save_overlays("t", "j", "s", 0, {"a": second})
    assert load_overlays("t", "j", "s", 0) == {"a": second, "b": first}
    assert len(folder.list()) == 2


def test_foreign_overlays_load(blobs: Outside) -> None:
    prefix = "cache/timelines/t/overlays/run/edges"
    blobs.put(f"{prefix}/12_edge_overlay.png", png_by_pillow(1))
    blobs.put(f"{prefix}/3_x.png", png_by_pillow(2))
    blobs.put(f"{prefix}/readme.txt", b"not an overlay")
    assert list_overlay_frames("t", "run", "edges") == [3, 12]
    assert load_overlays("t", "run", "edges", 12) == {"edge_overlay": b64(png_by_pillow(1))}


def test_clear_removes_frames_and_keeps_overlays(blobs: Outside) -> None:
    png = b64(png_by_pillow(0, width=48, height=32))
    cache_frames("t", [frame(0), frame(1)])
    save_overlays("t", "j", "s", 1, {"o": png})
    clear_cache("t")
    assert cache_exists("t") is False
    assert load_cached_frames("t") == []
    assert load_cached_frames_b64("t") == []
    assert frames_of(blobs, "t") == {}
    assert load_overlays("t", "j", "s", 1) == {"o": png}


def test_clear_keeps_other_timelines(folder: Outside) -> None:
    for timeline_id in ("t", "t2", "t-2", "t.2"):
        cache_frames(timeline_id, [frame(0)])
    clear_cache("t")
    assert [cache_exists(name) for name in ("t", "t2", "t-2", "t.2")] == [False, True, True, True]
    assert frames_of(folder, "t2").keys() == {"0.jpg"}


def test_cleared_timeline_can_be_cached_again_with_other_frames(blobs: Outside) -> None:
    cache_frames("t", [frame(0, number=1), frame(1, number=2)])
    clear_cache("t")
    assert cache_frames("t", [frame(0, number=5)], quality=95) == 1
    [loaded] = load_cached_frames("t")
    assert mean_error(loaded.image, picture(5)) <= 3
    assert list(frames_of(blobs, "t")) == ["0.jpg"]


def test_second_caching_of_same_frames_changes_nothing(blobs: Outside) -> None:
    frames = [frame(0), frame(1)]
    assert cache_frames("t", frames) == 2
    before = frames_of(blobs, "t")
    assert cache_frames("t", frames) == 2
    assert frames_of(blobs, "t") == before
    assert [f.sequence for f in load_cached_frames("t")] == [0, 1]


def test_caching_no_frames_creates_no_cache(folder: Outside) -> None:
    assert cache_frames("t", []) == 0
    assert cache_exists("t") is False
    assert load_cached_frames("t") == []
    assert frames_of(folder, "t") == {}


def test_frame_without_hash_gets_the_hash_of_imagehash(folder: Outside) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    image = np.asarray(Pillow.fromarray(noise).resize((160, 120), Pillow.Resampling.BICUBIC))
    given = frame(0)
    cache_frames("t", [type(given)(0, 0, 0.0, image)])
    [loaded] = load_cached_frames("t")
    expected = imagehash.phash(Pillow.fromarray(image))
    assert imagehash.hex_to_hash(loaded.perceptual_hash) - expected <= 4
    assert folder.list()


def test_foreign_folder_of_jpegs_loads(blobs: Outside) -> None:
    stored = {n: jpeg_by_pillow(n) for n in (10, 2, 0, 101)}
    for number, data in stored.items():
        blobs.put(f"cache/timelines/foreign/frames/{number}.jpg", data)
    assert cache_exists("foreign") is True
    loaded = load_cached_frames("foreign")
    assert [(f.sequence, f.chunk_id, f.timestamp, f.perceptual_hash) for f in loaded] == [
        (0, 0, 0.0, ""),
        (2, 0, 0.0, ""),
        (10, 0, 0.0, ""),
        (101, 0, 0.0, ""),
    ]
    for one in loaded:
        assert mean_error(one.image, pixels_by_pillow(stored[one.sequence])) <= 0.5
    assert load_cached_frames_b64("foreign") == [
        {"seq": n, "timestamp": 0.0, "jpeg_b64": b64(stored[n])} for n in (0, 2, 10, 101)
    ]


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "x.jpg", "1.jpeg", "1.JPG", "007.jpg", "-1.jpg", "1_2.jpg", "1.jpg.bak"],
)
def test_foreign_file_among_frames_is_ignored(folder: Outside, name: str) -> None:
    folder.put("cache/timelines/foreign/frames/1.jpg", jpeg_by_pillow(1))
    folder.put(f"cache/timelines/foreign/frames/{name}", b"something else")
    assert [f.sequence for f in load_cached_frames("foreign")] == [1]


@pytest.mark.parametrize("name", ["thumbs/1.jpg", "thumbs/3.jpg"])
def test_jpeg_in_subfolder_of_frames_is_ignored(folder: Outside, name: str) -> None:
    folder.put("cache/timelines/foreign/frames/1.jpg", jpeg_by_pillow(1))
    folder.put(f"cache/timelines/foreign/frames/{name}", jpeg_by_pillow(2))
    loaded = load_cached_frames("foreign")
    assert [f.sequence for f in loaded] == [1]
    assert mean_error(loaded[0].image, picture(1)) <= 3


def test_folder_without_frames_is_no_cache(folder: Outside) -> None:
    folder.put("cache/timelines/foreign/frames/readme.txt", b"frames go here")
    assert cache_exists("foreign") is False
    assert load_cached_frames("foreign") == []


def test_clear_keeps_foreign_files(folder: Outside) -> None:
    prefix = "cache/timelines/foreign/frames"
    folder.put(f"{prefix}/1.jpg", jpeg_by_pillow(1))
    folder.put(f"{prefix}/notes.txt", b"labels by hand")
    clear_cache("foreign")
    assert everything(folder) == {f"{prefix}/notes.txt": b"labels by hand"}


def test_frames_are_cached_next_to_foreign_file(folder: Outside) -> None:
    folder.put("cache/timelines/t/frames/notes.txt", b"labels by hand")
    assert cache_frames("t", [frame(0)]) == 1
    assert cache_exists("t") is True
    assert set(frames_of(folder, "t")) == {"0.jpg", "notes.txt"}


def test_foreign_gray_jpeg_loads_as_rgb(folder: Outside) -> None:
    buffer = io.BytesIO()
    Pillow.fromarray(picture(3)).convert("L").save(buffer, "JPEG")
    folder.put("cache/timelines/foreign/frames/0.jpg", buffer.getvalue())
    [loaded] = load_cached_frames("foreign")
    assert loaded.image.shape == (32, 48, 3)
    assert mean_error(loaded.image, pixels_by_pillow(buffer.getvalue())) <= 0.5


def test_foreign_frames_may_differ_in_size(folder: Outside) -> None:
    folder.put("cache/timelines/foreign/frames/0.jpg", jpeg_by_pillow(0, width=20, height=10))
    folder.put("cache/timelines/foreign/frames/1.jpg", jpeg_by_pillow(1, width=31, height=7))
    shapes = [f.image.shape for f in load_cached_frames("foreign")]
    assert shapes == [(10, 20, 3), (7, 31, 3)]


def test_foreign_frames_are_adopted_and_replaced(blobs: Outside) -> None:
    for number in (0, 4):
        blobs.put(f"cache/timelines/foreign/frames/{number}.jpg", jpeg_by_pillow(9))
    kept = frames_of(blobs, "foreign")["4.jpg"]
    assert cache_frames("foreign", [frame(0, timestamp=2.0)]) == 1
    loaded = load_cached_frames("foreign")
    assert [(f.sequence, f.chunk_id, f.timestamp) for f in loaded] == [(0, 0, 2.0), (4, 0, 0.0)]
    assert loaded[1].perceptual_hash == ""
    assert mean_error(loaded[0].image, picture(0)) <= 3
    stored = frames_of(blobs, "foreign")
    assert stored["4.jpg"] == kept
    assert mean_error(pixels_by_pillow(stored["0.jpg"]), picture(0)) <= 3


@dataclasses.dataclass
class Own:
    """Frame class of a caller."""

    sequence: Any
    chunk_id: Any
    timestamp: Any
    image: Any
    perceptual_hash: Any = None


GRAY = picture(3)[:, :, 0]
TAKEN: dict[str, tuple[Any, np.ndarray]] = {
    "RGB": (picture(3), picture(3)),
    "gray": (GRAY, np.dstack([GRAY] * 3)),
    "gray of three axes": (GRAY[:, :, None], np.dstack([GRAY] * 3)),
    "bool": (GRAY > 99, np.dstack([(GRAY > 99) * np.uint8(255)] * 3)),
    "Pillow RGB": (Pillow.fromarray(picture(3)), picture(3)),
    "Pillow L": (Pillow.fromarray(GRAY), np.dstack([GRAY] * 3)),
    "Pillow 1": (Pillow.fromarray(GRAY > 99), np.dstack([(GRAY > 99) * np.uint8(255)] * 3)),
    "Pillow P": (
        Pillow.fromarray(picture(3)).quantize(8),
        np.asarray(Pillow.fromarray(picture(3)).quantize(8).convert("RGB")),
    ),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_objects_of_any_class_with_any_image_of_8_bits_are_cached(
    folder: Outside, kind: str
) -> None:
    image, expected = TAKEN[kind]
    assert cache_frames("t", [Own(1, 2, 0.5, image)], quality=95) == 1
    [loaded] = load_cached_frames("t")
    assert (loaded.sequence, loaded.chunk_id, loaded.timestamp) == (1, 2, 0.5)
    assert mean_error(loaded.image, expected) <= 6
    [encoded] = frames_to_b64([Own(1, 2, 0.5, image)], quality=95)
    assert encoded == load_cached_frames_b64("t")[0]
    assert folder.list()


class Converting:
    """An object of another class that looks like a Pillow image."""

    mode = "RGB"

    def __init__(self, convert: Callable[[], object]) -> None:
        self._convert = convert

    def convert(self, _mode: str) -> object:
        return self._convert()


def fail() -> object:
    raise KeyError("lost")


NOT_TAKEN: dict[str, tuple[Any, str]] = {
    "floats": (picture(3) / 255, "float64"),
    "16 bits": (picture(3).astype(np.uint16), "uint16"),
    "alpha": (np.dstack([picture(3), GRAY]), r"\(32, 48, 4\)"),
    "Pillow RGBA": (Pillow.fromarray(picture(3)).convert("RGBA"), "RGBA"),
    "Pillow I;16": (Pillow.fromarray(GRAY.astype(np.uint16)), "I;16"),
    "Pillow F": (Pillow.fromarray(GRAY.astype(np.float32)), "mode F"),
    "an object that does not convert": (Converting(fail), "KeyError: 'lost'"),
    "an object that converts to nothing": (Converting(lambda: None), "object"),
    "a list": (picture(3).tolist(), "list"),
    "nothing": (None, "NoneType"),
}


@pytest.mark.parametrize("kind", NOT_TAKEN)
def test_image_that_does_not_fit_8_bit_jpeg_is_rejected(folder: Outside, kind: str) -> None:
    image, said = NOT_TAKEN[kind]
    for call in (
        lambda: cache_frames("t", [Own(7, 0, 0.0, image)]),
        lambda: [*frames_to_b64([Own(7, 0, 0.0, image)])],
    ):
        with pytest.raises(InvalidValue, match=f"frame 7: .*{said}"):
            call()
    assert frames_of(folder, "t") == {}


@pytest.mark.parametrize("given", [5, None, Own(0, 0, 0.0, GRAY), [object()], [None], ["x"]])
def test_objects_that_are_not_frames_are_rejected(folder: Outside, given: list[Own]) -> None:
    with pytest.raises(InvalidValue, match="frame"):
        cache_frames("t", given)
    assert frames_of(folder, "t") == {}


def test_single_frame_is_rejected_with_hint_to_give_a_list(folder: Outside) -> None:
    given: Any = frame(0)
    with pytest.raises(InvalidValue, match=r"a single frame was given: give a list"):
        cache_frames("t", given)
    assert frames_of(folder, "t") == {}


def test_last_call_wins_and_last_of_equal_sequences_in_one_call(blobs: Outside) -> None:
    assert cache_frames("t", [frame(0), frame(1)]) == 2
    given = [frame(0, number=5), frame(2), frame(0, number=6, width=20, height=10, timestamp=9.0)]
    assert cache_frames("t", given, quality=70) == 2
    loaded = load_cached_frames("t")
    assert [(f.sequence, f.timestamp) for f in loaded] == [(0, 9.0), (1, 0.125), (2, 0.25)]
    assert mean_error(loaded[0].image, picture(6, width=20, height=10)) <= 4
    stored = frames_of(blobs, "t")
    assert [b64(stored[f"{n}.jpg"]) for n in range(3)] == [
        one["jpeg_b64"] for one in load_cached_frames_b64("t")
    ]


def test_concurrent_calls_on_new_timeline_may_differ_in_quality(folder: Outside) -> None:
    def given() -> Iterator[Frame]:
        yield frame(0)
        assert cache_frames("t", [frame(1)], quality=50) == 1
        yield frame(2)

    assert cache_frames("t", given(), quality=85) == 2
    assert [f.sequence for f in load_cached_frames("t")] == [0, 1, 2]
    stored = frames_of(folder, "t")
    files = [JpegImagePlugin.JpegImageFile(io.BytesIO(stored[f"{n}.jpg"])) for n in range(3)]
    tables = [file.quantization for file in files]
    assert tables[0] == tables[2] != tables[1]


def test_caching_frames_on_extracted_timeline_conflicts(folder: Outside, local_url: str) -> None:
    FrameCache(local_url).timeline("t").extract(clips.clip(), every=9)
    before = everything(folder)
    with pytest.raises(SettingsConflict, match="extracted from chunks"):
        cache_frames("t", [frame(0)])
    assert everything(folder) == before


def test_cache_with_uncommitted_chunk_does_not_exist(folder: Outside, local_url: str) -> None:
    FrameCache(local_url).timeline("t").extract([clips.clip()], every=9)
    assert cache_exists("t") is True
    for key in folder.list("cache/timelines/t/index/"):
        folder.remove(key)
    assert cache_exists("t") is False


def test_cache_exists_does_not_probe_blobs(folder: Outside) -> None:
    cache_frames("t", [frame(0)])
    folder.remove("cache/timelines/t/frames/0.jpg")
    assert cache_exists("t") is True


def test_frames_to_b64_sorts_by_sequence() -> None:
    given = [frame(n, timestamp=n / 4) for n in (5, 2, 9)]
    encoded = frames_to_b64(given)
    assert [(one["seq"], one["timestamp"]) for one in encoded] == [(2, 0.5), (5, 1.25), (9, 2.25)]


def test_foreign_frames_can_be_cleared_and_replaced(blobs: Outside) -> None:
    blobs.put("cache/timelines/foreign/frames/0.jpg", jpeg_by_pillow(9))
    blobs.put("cache/timelines/foreign/frames/1.jpg", jpeg_by_pillow(8))
    clear_cache("foreign")
    assert cache_exists("foreign") is False
    assert blobs.list() == []
    assert cache_frames("foreign", [frame(0, number=4)]) == 1
    [loaded] = load_cached_frames("foreign")
    assert mean_error(loaded.image, picture(4)) <= 3


def test_damaged_foreign_jpeg_error_names_its_key(folder: Outside) -> None:
    folder.put("cache/timelines/foreign/frames/3.jpg", jpeg_by_pillow(3)[:200])
    with pytest.raises(CorruptFrame, match=r"cache/timelines/foreign/frames/3\.jpg"):
        load_cached_frames("foreign")


def test_frames_to_b64_equals_bytes_of_cached_frames(folder: Outside) -> None:
    frames = [frame(4, timestamp=1.5), frame(5, timestamp=1.75)]
    cache_frames("t", frames, quality=75)
    assert frames_to_b64(frames) == load_cached_frames_b64("t")
    assert folder.list()


def test_frames_to_b64_returns_jpegs_that_pillow_opens() -> None:
    [encoded] = frames_to_b64([frame(6, timestamp=2.5)], quality=95)
    assert (encoded["seq"], encoded["timestamp"]) == (6, 2.5)
    assert mean_error(pixels_by_pillow(base64.b64decode(encoded["jpeg_b64"])), picture(6)) <= 2
    assert frames_to_b64([]) == []


def test_lower_quality_takes_fewer_bytes() -> None:
    [small], [large] = (frames_to_b64([frame(0)], quality=q) for q in (10, 95))
    assert len(small["jpeg_b64"]) < len(large["jpeg_b64"])


CACHES = """
import sys
import numpy as np
from framecache import Frame
from framecache.functional import cache_frames, save_overlays
image = np.full((8, 16, 3), 200, np.uint8)
count = cache_frames("t", (Frame(n, 1, n / 4, image) for n in range(5)))
save_overlays("t", "j", "s", 3, {"o": sys.argv[1]})
print(count)
"""


@pytest.mark.parametrize("kind", ["local", "s3", pytest.param("ceph", marks=pytest.mark.ceph)])
def test_frames_cached_by_one_process_load_in_another(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", request.getfixturevalue(f"{kind}_url"))
    assert cache_exists("t") is False
    png = b64(png_by_pillow(0, width=16, height=8))
    command = [sys.executable, "-c", CACHES, png]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "5\n"
    assert cache_exists("t") is True
    loaded = load_cached_frames("t")
    assert [(f.sequence, f.chunk_id, f.timestamp) for f in loaded] == [
        (n, 1, n / 4) for n in range(5)
    ]
    assert all(mean_error(f.image, np.full((8, 16, 3), 200, np.uint8)) <= 2 for f in loaded)
    assert load_overlays("t", "j", "s", 3) == {"o": png}


def test_environment_is_read_at_each_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", str(tmp_path / "one"))
    cache_frames("t", [frame(0)])
    monkeypatch.setenv("FRAMECACHE_URL", str(tmp_path / "two"))
    assert cache_exists("t") is False
    monkeypatch.setenv("FRAMECACHE_URL", str(tmp_path / "one"))
    assert cache_exists("t") is True


def test_framecache_url_takes_precedence_over_s3_bucket(
    local_url: str, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", local_url)
    monkeypatch.setenv("S3_BUCKET", s3_url.removeprefix("s3://"))
    cache_frames("t", [frame(0)])
    assert frames_of(outside(local_url), "t").keys() == {"0.jpg"}
    assert outside(s3_url).list() == []


def test_empty_environment_variables_count_as_unset(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert s3_url
    bucket = outside("s3://mpr")
    bucket.make_empty()
    monkeypatch.setenv("FRAMECACHE_URL", "")
    monkeypatch.setenv("S3_BUCKET", "")
    cache_frames("t", [frame(0)])
    assert frames_of(bucket, "t").keys() == {"0.jpg"}
