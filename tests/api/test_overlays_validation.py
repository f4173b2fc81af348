"""Values that are refused as overlays, with nothing stored."""

import base64
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import clips
import numpy as np
import pytest
from PIL import Image as Pillow

from framecache import FrameCache, InvalidId, InvalidValue, Overlays, Timeline, functional
from framecache._overlays import MAX_BYTES, MAX_PIXELS
from framecache.model import Layout
from framecache.testing import HookedStore
from outside import frame, jpeg_by_pillow, outside, png_by_pillow

PNG = png_by_pillow(1)
OVERLAYS = "cache/timelines/t/overlays/"


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def png_of(width: int, height: int, *parts: bytes) -> bytes:
    """Return a PNG with a declared size and with pixels in several chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = b"".join(chunk(b"IDAT", part) for part in parts)
    return PNG[:8] + header + pixels + chunk(b"IEND")


def empty_png(width: int, height: int) -> bytes:
    """Return a PNG with a declared size and few bytes."""
    return png_of(width, height, zlib.compress(b"\0"))


def flipped(png: bytes) -> bytes:
    damaged = bytearray(png)
    damaged[len(png) // 2] ^= 4
    return bytes(damaged)


class Own:
    """An object of another class that looks like a Pillow image, and raises."""

    size = (8, 6)

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def convert(self, mode: str) -> object:
        raise RuntimeError(f"no {mode}" + "!" * 1000)

    def save(self, _file: object, name: str) -> None:
        raise KeyError(name)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "other bytes": (lambda: b"GIF89a", "not a complete"),
    "a JPEG": (lambda: jpeg_by_pillow(1), "not a complete"),
    "no bytes": (lambda: b"", "not a complete"),
    "truncated": (lambda: PNG[:-1], "inside a chunk"),
    "flipped": (lambda: flipped(PNG), "CRC differs"),
    "base64 of a truncated one": (lambda: base64.b64encode(PNG[:-9]).decode(), "not a complete"),
    "no zlib": (lambda: png_of(8, 6, b"these are no pixels"), "not compressed"),
    "pixels of no byte": (lambda: png_of(8, 6, zlib.compress(b"")), "no pixels"),
    "empty chunks of pixels": (lambda: png_of(8, 6, b"", b""), "no pixels"),
    "not base64": (lambda: "é!", "not base64"),
    "too many bytes": (lambda: PNG + bytes(MAX_BYTES), "67,108,93[0-9] bytes|bytes: at most"),
    "too much base64": (lambda: "A" * (MAX_BYTES * 4 // 3 + 8), "bytes: at most"),
    "too many pixels": (lambda: empty_png(MAX_PIXELS + 1, 1), "pixels"),
    "a large array": (lambda: np.zeros((1, MAX_PIXELS + 1), np.uint8), "pixels"),
    "a large image": (lambda: Pillow.new("L", (MAX_PIXELS + 1, 1)), "pixels"),
    "floats": (lambda: np.zeros((6, 8, 3)), "uint8"),
    "32 bits": (lambda: np.zeros((6, 8), np.int32), "uint8"),
    "colours of bools": (lambda: np.zeros((6, 8, 3), np.bool_), "bool"),
    "masked": (lambda: np.ma.masked_equal(np.zeros((6, 8), np.uint8), 0), "masked"),
    "an image of floats": (lambda: Pillow.new("F", (8, 6), 0.5), "mode F"),
    "an image beyond 16 bits": (lambda: Pillow.new("I", (8, 6), 65_536), "mode I"),
    "an image below zero": (lambda: Pillow.new("I", (8, 6), -1), "mode I"),
    "an object that does not convert": (lambda: Own("CMYK"), "RuntimeError: no RGB"),
    "an object that does not save": (lambda: Own("RGB"), "KeyError: 'PNG'"),
    "base64 as bytes of a truncated one": (lambda: base64.b64encode(PNG[:-9]), "not a complete"),
    "half a byte of base64": (lambda: "A", "not base64"),
    "a data URI of a JPEG": (lambda: "data:image/jpeg;base64,/9j/", "not base64"),
    "two channels": (lambda: np.zeros((6, 8, 2), np.uint8), "shape"),
    "one row": (lambda: np.zeros(8, np.uint8), "shape"),
    "an empty array": (lambda: np.zeros((0, 8, 3), np.uint8), "shape"),
    "a number": (lambda: 7, "int"),
    "none": (lambda: None, "NoneType"),
}


@pytest.fixture
def store(local_url: str) -> HookedStore:
    return HookedStore(FrameCache(local_url).store)


def drawn(store: HookedStore) -> Overlays:
    return Timeline(store, "t").overlays(job_id="j", stage="s")


@pytest.mark.parametrize("kind", BAD)
def test_invalid_overlay_is_rejected_before_any_request(store: HookedStore, kind: str) -> None:
    make, reason = BAD[kind]
    bad = make()
    with pytest.raises(InvalidValue, match=reason) as refusal:
        drawn(store).save(3, {"good": PNG, "bad": bad})
    assert "'bad'" in str(refusal.value)
    assert len(str(refusal.value)) < 300
    with pytest.raises(InvalidValue, match=reason):
        drawn(store).save_many({1: {"good": PNG}, 2: {"good": PNG, "bad": bad}, 3: {"good": PNG}})
    assert store.requests == []


def test_invalid_name_or_sequence_in_save_many_is_rejected_before_any_request(
    store: HookedStore,
) -> None:
    with pytest.raises(InvalidId):
        drawn(store).save_many({1: {"good": PNG}, 2: {"../bad": PNG}})
    with pytest.raises(InvalidValue):
        drawn(store).save_many({1: {"good": PNG}, -2: {"good": PNG}})
    assert store.requests == []


def test_overlay_with_maximum_pixels_is_accepted(local_url: str) -> None:
    header = struct.pack(">IIBBBBB", MAX_PIXELS, 1, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1 + MAX_PIXELS // 8))
    png = PNG[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND")
    drawn_here = FrameCache(local_url).timeline("t").overlays(job_id="j", stage="s")
    drawn_here.save(0, {"o": png})
    assert drawn_here.load_one(0, "o") == png


def test_png_with_many_idat_chunks_is_accepted(local_url: str) -> None:
    pixels = zlib.compress(bytes(6 * (1 + 3 * 8)))
    png = png_of(8, 6, b"", *(pixels[n : n + 1] for n in range(len(pixels))))
    with Pillow.open(io.BytesIO(png)) as image:
        image.load()
    overlays = FrameCache(local_url).timeline("t").overlays(job_id="j", stage="s")
    overlays.save(0, {"a": png})
    assert overlays.load(0) == {"a": png}


SMALL = png_by_pillow(1, width=24, height=16)
FITS = png_by_pillow(1, width=48, height=32)


def test_overlay_of_any_size_is_stored_and_misfits_are_reported(store_url: str) -> None:
    timeline = FrameCache(store_url).timeline("t")
    timeline.write([frame(0), frame(1, width=64, height=40), frame(2)])
    edges = FrameCache(store_url).timeline("t").overlays(job_id="j", stage="s")
    edges.save_many({0: {"a": FITS, "b": SMALL}, 1: {"a": FITS}, 2: {"a": FITS}, 9: {"a": SMALL}})
    assert edges.load(0) == {"a": FITS, "b": SMALL}
    assert edges.listing().other_size is None
    listing = edges.listing(sizes=True)
    assert listing.sequence == (0, 1, 2, 9)
    assert listing.other_size == (True, True, False, False)
    assert edges.misfits() == {0: ("b",), 1: ("a",)}


@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_misfits_use_frame_sizes_of_either_layout(local_url: str, layout: Layout) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.extract(clips.clip(), every=9, layout=layout)
    edges = timeline.overlays(job_id="j", stage="s")
    edges.save(0, {"o": np.zeros((clips.HEIGHT, clips.WIDTH), np.uint8)})
    edges.save(1, {"o": np.zeros((clips.HEIGHT // 2, clips.WIDTH // 2), np.uint8)})
    assert edges.misfits() == {1: ("o",)}


def test_frames_of_unknown_size_have_no_misfits(local_url: str) -> None:
    outside(local_url).put("cache/timelines/t/frames/0.jpg", jpeg_by_pillow(0))
    edges = FrameCache(local_url).timeline("t").overlays(job_id="j", stage="s")
    edges.save_many({0: {"o": SMALL}, 7: {"o": SMALL}})
    assert edges.misfits() == {}


def test_misfits_use_size_of_frame_replaced_by_another_program(
    local_url: str,
) -> None:
    mine = FrameCache(local_url).timeline("t")
    mine.write([frame(0)])
    edges = mine.overlays(job_id="j", stage="s")
    edges.save(0, {"o": FITS})
    assert edges.misfits() == {}
    other = FrameCache(local_url).timeline("t")
    other.write([frame(0, width=64, height=40)], on_conflict="replace")
    assert edges.misfits() == {0: ("o",)}


def test_save_makes_one_request_per_overlay(store: HookedStore) -> None:
    Timeline(store, "t").write([frame(0)])
    store.requests.clear()
    drawn(store).save(0, {"a": SMALL, "b": FITS})
    assert sorted(store.requests) == [("put", f"{OVERLAYS}j/s/0_{name}.png") for name in "ab"]


def values(png: bytes) -> np.ndarray:
    with Pillow.open(io.BytesIO(png)) as image:
        return np.asarray(image)


RNG = np.random.default_rng(1)


@pytest.mark.parametrize(
    "array",
    [
        RNG.integers(0, 65_536, (6, 9), np.uint16),
        RNG.integers(0, 2, (6, 9)).astype(np.bool_),
        RNG.integers(0, 2, (5, 17, 1)).astype(np.bool_),
        RNG.integers(0, 256, (6, 9, 1), np.uint8),
        RNG.integers(0, 65_536, (6, 9), np.uint16).astype(">u2"),
        RNG.integers(0, 65_536, (6, 9), np.uint16)[::-1, ::2],
    ],
    ids=["uint16", "bool", "bool of three axes", "gray of three axes", "big endian", "a view"],
)
def test_saved_array_loads_with_same_values(local_url: str, array: np.ndarray) -> None:
    edges = FrameCache(local_url).timeline("t").overlays(job_id="j", stage="s")
    edges.save(0, {"o": array})
    expected = array[:, :, 0] if array.ndim == 3 else array
    assert np.array_equal(values(edges.load(0)["o"]), expected)


def with_a_palette(*, transparent: int | None = None) -> Pillow.Image:
    image = Pillow.fromarray(RNG.integers(0, 21, (6, 9), np.uint8)).convert("P")
    image.putpalette([(n * 37) % 256 for n in range(768)])
    if transparent is not None:
        image.info["transparency"] = transparent
    return image


@pytest.mark.parametrize(
    "image",
    [
        with_a_palette(),
        with_a_palette(transparent=3),
        Pillow.fromarray(RNG.integers(0, 65_536, (6, 9), np.uint16)),
        Pillow.fromarray(RNG.integers(0, 65_536, (6, 9), np.int32)),
        Pillow.fromarray(RNG.integers(0, 2, (6, 9)).astype(np.bool_)),
        Pillow.fromarray(RNG.integers(0, 256, (6, 9, 2), np.uint8), "LA"),
        Pillow.fromarray(RNG.integers(0, 256, (6, 9, 4), np.uint8), "RGBA"),
    ],
    ids=["palette", "transparent palette", "16 bits", "32 bits", "1 bit", "LA", "RGBA"],
)
def test_saved_pillow_image_loads_with_same_values(local_url: str, image: Pillow.Image) -> None:
    edges = FrameCache(local_url).timeline("t").overlays(job_id="j", stage="s")
    edges.save(0, {"o": image})
    png = edges.load(0)["o"]
    assert np.array_equal(values(png), np.asarray(image))
    with Pillow.open(io.BytesIO(png)) as loaded:
        assert np.array_equal(np.asarray(loaded.convert("RGBA")), np.asarray(image.convert("RGBA")))


B64 = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "text",
    [
        B64,
        f"{B64}\n",
        base64.encodebytes(PNG).decode(),
        B64.replace("A", "A\r\n\t "),
        base64.urlsafe_b64encode(PNG).decode(),
        B64.rstrip("="),
        f"data:image/png;base64,{B64}",
        f"\r\n data:image/png;base64,{B64}",
        base64.b64encode(PNG),
        bytearray(base64.encodebytes(PNG)),
        f" data:image/png;base64,{B64}".encode(),
        f"DATA:image/PNG;charset=utf-8;base64,{base64.encodebytes(PNG).decode()}",
    ],
    ids=[
        "plain",
        "line",
        "wrapped",
        "blanks",
        "URL-safe",
        "unpadded",
        "data URI",
        "data URI after blanks",
        "bytes",
        "wrapped bytes",
        "data URI as bytes",
        "long URI",
    ],
)
def test_base64_text_variants_are_accepted(
    local_url: str, monkeypatch: pytest.MonkeyPatch, text: str | bytes
) -> None:
    monkeypatch.setenv("FRAMECACHE_URL", local_url)
    functional.save_overlays("t", "j", "s", 0, {"o": text})  # type: ignore[dict-item]  # bytes as well
    assert functional.load_overlays("t", "j", "s", 0) == {"o": B64}


def test_overlays_are_saved_on_timeline_with_corrupt_manifest(local_url: str) -> None:
    timeline = FrameCache(local_url).timeline("t")
    timeline.write([frame(0)])
    blobs = outside(local_url)
    latest = blobs.list("cache/timelines/t/timeline/")[-1]
    blobs.put(latest, b"{}")
    edges = FrameCache(local_url).timeline("t").overlays(job_id="run-7", stage="edges")
    edges.save(0, {"edges": PNG})
    assert edges.load(0) == {"edges": PNG}
