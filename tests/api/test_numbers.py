"""Every numeric parameter of the public API accepts numbers of any type.

Python's ``operator.index`` and ``float`` define which values must be accepted.
"""

import inspect
import re
import tempfile
from collections.abc import AsyncIterable, Callable, Coroutine, Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

import clips
import numpy as np
import pytest

from coroutines import run_coroutine
from framecache import (
    Chunk,
    Frame,
    FrameCache,
    InvalidValue,
    Overlays,
    Prices,
    Sprites,
    Timeline,
    functional,
)
from framecache._core.prices import S3_STANDARD
from outside import picture

NUMERIC: Final = re.compile(r"\b(int|float|Seconds|\w*Rate)\b")
NAMES: Final = count()


class Given(NamedTuple):
    """Objects to call, among them a filled timeline."""

    cache: FrameCache
    filled: Timeline
    chunk: str

    @property
    def new(self) -> Timeline:
        return self.cache.timeline(f"n{next(NAMES)}")

    @property
    def drawn(self) -> Overlays:
        return self.filled.overlays(job_id="j", stage="s")


Call = Callable[[Given, Any], object]


def _frame(**numbers: Any) -> Frame:  # noqa: ANN401 -- of any type
    values: dict[str, Any] = {"sequence": 0, "chunk_id": 0, "timestamp": 0.0, **numbers}
    return Frame(image=picture(1), **values)


def _result(called: "Coroutine[Any, Any, object]") -> object:
    return run_coroutine(called)


def _listed(yielded: AsyncIterable[object]) -> object:
    async def collect() -> list[object]:
        return [one async for one in yielded]

    return run_coroutine(collect())


def _export(given: Given, **options: Any) -> object:  # noqa: ANN401 -- of any type
    """Export frames of the filled timeline to a new folder."""
    folder = Path(tempfile.mkdtemp(dir=given.cache.url.removeprefix("file://")))
    return given.filled.export_frames(folder, **{"format": "webdataset", **options})


def _import(given: Given, **options: Any) -> object:  # noqa: ANN401 -- of any type
    """Import a frame without a time to a new timeline."""
    folder = Path(tempfile.mkdtemp(dir=given.cache.url.removeprefix("file://")))
    (folder / "0.jpg").write_bytes(given.filled.jpeg(0))
    (folder / "frames.csv").write_text("file\n0.jpg\n")
    return given.new.import_frames(folder, **options)


INTEGERS: Final[dict[str, Call]] = {
    "FrameCache.local_cache_bytes": lambda _, n: FrameCache("memory://", local_cache_bytes=n),
    "FrameCache.plan_gc.max_bytes": lambda g, n: g.cache.plan_gc(max_bytes=n),
    "Timeline.extract.every": lambda g, n: g.new.extract(g.chunk, every=n),
    "Timeline.extract.quality": lambda g, n: g.new.extract(g.chunk, quality=n, every=99),
    "Timeline.extract.workers": lambda g, n: g.new.extract(g.chunk, workers=n, every=99),
    "Timeline.plan_extract.every": lambda g, n: g.new.plan_extract(g.chunk, every=n),
    "Timeline.plan_extract.quality": lambda g, n: g.new.plan_extract(g.chunk, quality=n),
    "Timeline.plan_extract.workers": lambda g, n: g.new.plan_extract(g.chunk, workers=n),
    "Timeline.plan_append.workers": lambda g, n: g.new.plan_append(g.chunk, workers=n),
    "Timeline.append.workers": lambda g, n: g.new.append(g.chunk, workers=n),
    "Timeline.write.quality": lambda g, n: g.new.write([_frame()], quality=n),
    "Timeline.write.workers": lambda g, n: g.new.write([_frame()], workers=n),
    "Timeline.rebuild.every": lambda g, n: g.filled.rebuild(every=n),
    "Timeline.rebuild.quality": lambda g, n: g.filled.rebuild(quality=n),
    "Timeline.rebuild.workers": lambda g, n: g.filled.rebuild(workers=n),
    "Timeline.extract.renditions": lambda g, n: g.new.extract(g.chunk, renditions=[n], every=99),
    "Timeline.plan_extract.renditions": lambda g, n: g.new.plan_extract(
        g.chunk, renditions=[n], layout="objects"
    ),
    "Timeline.rebuild.renditions": lambda g, n: g.filled.rebuild(renditions=[n]),
    "Timeline.add_renditions.renditions": lambda g, n: g.filled.add_renditions([n]),
    "Timeline.add_renditions.workers": lambda g, n: g.filled.add_renditions([9], workers=n),
    "Timeline.jpeg.max_side": lambda g, n: g.filled.jpeg(0, max_side=n),
    "Timeline.ajpeg.max_side": lambda g, n: _result(g.filled.ajpeg(0, max_side=n)),
    "Timeline.jpegs.max_side": lambda g, n: list(g.filled.jpegs([0], max_side=n)),
    "Timeline.repack.workers": lambda g, n: g.filled.repack("objects", workers=n),
    "Timeline.verify.workers": lambda g, n: g.filled.verify(workers=n),
    "Timeline.frame.sequence": lambda g, n: g.filled.frame(n),
    "Timeline.jpeg.sequence": lambda g, n: g.filled.jpeg(n),
    "Timeline.jpegs.sequences": lambda g, n: list(g.filled.jpegs([n])),
    "Timeline.batch.sequences": lambda g, n: g.filled.batch([n]),
    "Timeline.frames.start": lambda g, n: list(g.filled.frames(n)),
    "Timeline.frames.stop": lambda g, n: list(g.filled.frames(None, n)),
    "Timeline.frames.step": lambda g, n: list(g.filled.frames(step=n)),
    "Timeline.frames.ranges": lambda g, n: list(g.filled.frames(ranges=[(0, n)])),
    "Timeline.frames.min_change": lambda g, n: list(g.filled.frames(min_change=n)),
    "Timeline.translate.n": lambda g, n: g.filled.translate(n, of="opencv"),
    "Timeline.translate.chunk_id": lambda g, n: g.filled.translate(0, of="opencv", chunk_id=n),
    "Timeline.translate_back.sequence": lambda g, n: g.filled.translate_back(n, of="opencv"),
    "Timeline.export_frames.start": lambda g, n: _export(g, start=n),
    "Timeline.export_frames.stop": lambda g, n: _export(g, stop=n),
    "Timeline.export_frames.step": lambda g, n: _export(g, step=n),
    "Timeline.export_frames.min_change": lambda g, n: _export(g, min_change=n),
    "Timeline.export_frames.shard_bytes": lambda g, n: _export(g, stop=2, shard_bytes=n),
    "Timeline.import_frames.workers": lambda g, n: _import(g, fps=5, workers=n),
    "Timeline.extract.max_side": lambda g, n: g.new.extract(g.chunk, max_side=n, every=99),
    "Timeline.plan_extract.max_side": lambda g, n: g.new.plan_extract(g.chunk, max_side=n),
    "Timeline.rebuild.max_side": lambda g, n: g.filled.rebuild(max_side=n),
    "Timeline.frame.max_side": lambda g, n: g.filled.frame(0, max_side=n),
    "Timeline.frame_at.max_side": lambda g, n: g.filled.frame_at(0, max_side=n),
    "Timeline.frames.max_side": lambda g, n: list(g.filled.frames(max_side=n)),
    "Timeline.batch.max_side": lambda g, n: g.filled.batch([0], max_side=n),
    "Timeline.to_vlm.max_side": lambda g, n: g.filled.to_vlm(max_side=n),
    "Timeline.aframe.max_side": lambda g, n: _result(g.filled.aframe(0, max_side=n)),
    "Timeline.aframe_at.max_side": lambda g, n: _result(g.filled.aframe_at(0, max_side=n)),
    "Timeline.abatch.max_side": lambda g, n: _result(g.filled.abatch([0], max_side=n)),
    "Timeline.aframes.max_side": lambda g, n: _listed(g.filled.aframes(max_side=n)),
    "Timeline.to_vlm.max_frames": lambda g, n: g.filled.to_vlm(max_frames=n),
    "Timeline.aframe.sequence": lambda g, n: _result(g.filled.aframe(n)),
    "Timeline.ajpeg.sequence": lambda g, n: _result(g.filled.ajpeg(n)),
    "Timeline.abatch.sequences": lambda g, n: _result(g.filled.abatch([n])),
    "Timeline.aframes.start": lambda g, n: _listed(g.filled.aframes(n)),
    "Timeline.aframes.stop": lambda g, n: _listed(g.filled.aframes(None, n)),
    "Timeline.aframes.step": lambda g, n: _listed(g.filled.aframes(step=n)),
    "Timeline.aframes.ranges": lambda g, n: _listed(g.filled.aframes(ranges=[(0, n)])),
    "Timeline.aframes.min_change": lambda g, n: _listed(g.filled.aframes(min_change=n)),
    "Timeline.scenes.start": lambda g, n: g.filled.scenes(n),
    "Timeline.scenes.stop": lambda g, n: g.filled.scenes(None, n),
    "Timeline.scenes.min_change": lambda g, n: g.filled.scenes(min_change=n),
    "Timeline.available.sequences": lambda g, n: g.filled.available([n]),
    "Timeline.sequences.ranges": lambda g, n: g.filled.sequences(ranges=[(0, n)]),
    "Timeline.sequences.min_change": lambda g, n: g.filled.sequences(min_change=n),
    "Timeline.sequences.start": lambda g, n: g.filled.sequences(n),
    "Timeline.sequences.stop": lambda g, n: g.filled.sequences(None, n),
    "Timeline.sequences.step": lambda g, n: g.filled.sequences(step=n),
    "Overlays.save.sequence": lambda g, n: g.drawn.save(n, {}),
    "Overlays.save_many.frames": lambda g, n: g.drawn.save_many({n: {}}),
    "Overlays.load.sequence": lambda g, n: g.drawn.load(n),
    "Overlays.sizes.sequence": lambda g, n: g.drawn.sizes(n),
    "Overlays.load_named.sequence": lambda g, n: g.drawn.load_named(n, ["a"]),
    "Overlays.load_one.sequence": lambda g, n: g.drawn.load_one(n, "a"),
    "Overlays.load_one.most_bytes": lambda g, n: g.drawn.load_one(0, "a", most_bytes=n),
    "Overlays.load_many.sequences": lambda g, n: list(g.drawn.load_many([n])),
    "Overlays.remove.sequence": lambda g, n: g.drawn.remove(n),
    "Overlays.remove_one.sequence": lambda g, n: g.drawn.remove_one(n, "a"),
    "Sprites.sheet.i": lambda g, n: g.filled.sprites().sheet(n),
    "Sprites.found_or_made.i": lambda g, n: g.filled.sprites().found_or_made(n),
    "Frame.sequence": lambda g, n: g.new.write([_frame(sequence=n)]),
    "Frame.chunk_id": lambda g, n: g.new.write([_frame(chunk_id=n)]),
    "Prices.storage.size_bytes": lambda _, n: S3_STANDARD.storage(n),
    "Prices.transfer_to_internet.size_bytes": lambda _, n: S3_STANDARD.transfer_to_internet(n),
    "Prices.transfer_in_region.size_bytes": lambda _, n: S3_STANDARD.transfer_in_region(n),
    "functional.cache_frames.quality": lambda _, n: functional.cache_frames(
        f"n{next(NAMES)}", [_frame()], n
    ),
    "functional.frames_to_b64.quality": lambda _, n: functional.frames_to_b64([_frame()], n),
    "functional.save_overlays.seq": lambda _, n: functional.save_overlays("t", "j", "s", n, {}),
    "functional.load_overlays.seq": lambda _, n: functional.load_overlays("t", "j", "s", n),
}
REALS: Final[dict[str, Call]] = {
    "FrameCache.plan_gc.grace_seconds": lambda g, n: g.cache.plan_gc(grace_seconds=n),
    "FrameCache.plan_gc.max_age_seconds": lambda g, n: g.cache.plan_gc(max_age_seconds=n),
    "Timeline.extract.fps": lambda g, n: g.new.extract(g.chunk, fps=n),
    "Timeline.plan_extract.fps": lambda g, n: g.new.plan_extract(g.chunk, fps=n),
    "Timeline.rebuild.fps": lambda g, n: g.filled.rebuild(fps=n),
    "Timeline.frame.scale": lambda g, n: g.filled.frame(0, scale=n),
    "Timeline.frame_at.seconds": lambda g, n: g.filled.frame_at(n),
    "Timeline.frame_at.tolerance_seconds": lambda g, n: g.filled.frame_at(0, tolerance_seconds=n),
    "Timeline.frame_at.scale": lambda g, n: g.filled.frame_at(0, scale=n),
    "Timeline.sequence_at.seconds": lambda g, n: g.filled.sequence_at(n),
    "Timeline.sequence_at.tolerance_seconds": lambda g, n: g.filled.sequence_at(
        0, tolerance_seconds=n
    ),
    "Timeline.frames.start_seconds": lambda g, n: list(g.filled.frames(start_seconds=n)),
    "Timeline.frames.stop_seconds": lambda g, n: list(g.filled.frames(stop_seconds=n)),
    "Timeline.frames.tolerance_seconds": lambda g, n: list(
        g.filled.frames(start_seconds=1, tolerance_seconds=n)
    ),
    "Timeline.frames.scale": lambda g, n: list(g.filled.frames(scale=n)),
    "Timeline.frames.ranges_seconds": lambda g, n: list(g.filled.frames(ranges_seconds=[(0, n)])),
    "Timeline.frames.timeout_seconds": lambda g, n: list(
        g.filled.frames(follow="complete", timeout_seconds=n)
    ),
    "Timeline.translate.fps": lambda g, n: g.filled.translate(0, of="browser", fps=n),
    "Timeline.translate_back.fps": lambda g, n: g.filled.translate_back(0, of="browser", fps=n),
    "Timeline.export_frames.start_seconds": lambda g, n: _export(g, start_seconds=n),
    "Timeline.export_frames.stop_seconds": lambda g, n: _export(g, stop_seconds=n),
    "Timeline.export_frames.fps": lambda g, n: _export(g, format="mp4", fps=n),
    "Timeline.import_frames.fps": lambda g, n: _import(g, fps=n),
    "Timeline.to_vlm.start_seconds": lambda g, n: g.filled.to_vlm(n),
    "Timeline.to_vlm.stop_seconds": lambda g, n: g.filled.to_vlm(None, n),
    "Timeline.to_vlm.scale": lambda g, n: g.filled.to_vlm(scale=n),
    "Timeline.aframe.scale": lambda g, n: _result(g.filled.aframe(0, scale=n)),
    "Timeline.aframe_at.seconds": lambda g, n: _result(g.filled.aframe_at(n)),
    "Timeline.aframe_at.tolerance_seconds": lambda g, n: _result(
        g.filled.aframe_at(0, tolerance_seconds=n)
    ),
    "Timeline.aframe_at.scale": lambda g, n: _result(g.filled.aframe_at(0, scale=n)),
    "Timeline.abatch.scale": lambda g, n: _result(g.filled.abatch([0], scale=n)),
    "Timeline.aframes.start_seconds": lambda g, n: _listed(g.filled.aframes(start_seconds=n)),
    "Timeline.aframes.stop_seconds": lambda g, n: _listed(g.filled.aframes(stop_seconds=n)),
    "Timeline.aframes.tolerance_seconds": lambda g, n: _listed(
        g.filled.aframes(start_seconds=1, tolerance_seconds=n)
    ),
    "Timeline.aframes.ranges_seconds": lambda g, n: _listed(
        g.filled.aframes(ranges_seconds=[(0, n)])
    ),
    "Timeline.aframes.timeout_seconds": lambda g, n: _listed(
        g.filled.aframes(follow="complete", timeout_seconds=n)
    ),
    "Timeline.aframes.scale": lambda g, n: _listed(g.filled.aframes(scale=n)),
    "Timeline.scenes.start_seconds": lambda g, n: g.filled.scenes(start_seconds=n),
    "Timeline.scenes.stop_seconds": lambda g, n: g.filled.scenes(stop_seconds=n),
    "Timeline.scenes.tolerance_seconds": lambda g, n: g.filled.scenes(
        start_seconds=1, tolerance_seconds=n
    ),
    "Timeline.scenes.min_seconds": lambda g, n: g.filled.scenes(min_seconds=n),
    "Timeline.sequences.ranges_seconds": lambda g, n: g.filled.sequences(ranges_seconds=[(0, n)]),
    "Timeline.sequences.start_seconds": lambda g, n: g.filled.sequences(start_seconds=n),
    "Timeline.sequences.stop_seconds": lambda g, n: g.filled.sequences(stop_seconds=n),
    "Timeline.sequences.tolerance_seconds": lambda g, n: g.filled.sequences(
        start_seconds=1, tolerance_seconds=n
    ),
    "Timeline.batch.scale": lambda g, n: g.filled.batch([0], scale=n),
    "Chunk.trim_start": lambda g, n: g.new.extract(Chunk(g.chunk, trim_start=n), every=99),
    "Chunk.trim_stop": lambda g, n: g.new.extract(Chunk(g.chunk, trim_stop=n), every=99),
    "Chunk.start_seconds": lambda g, n: g.new.extract(Chunk(g.chunk, n), every=99),
    "Frame.timestamp": lambda g, n: g.new.write([_frame(timestamp=n)]),
}
VALUES: Final = {
    "FrameCache.local_cache_bytes": 2**21,
    "Timeline.translate.chunk_id": 0,
    "Chunk.trim_start": 1,
    "Sprites.sheet.i": 0,
    "Sprites.found_or_made.i": 0,
}
"""Valid value of each parameter for which 2 is not valid."""


class Index:
    """Integer of another library."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


class Float:
    """A real number of another library."""

    def __init__(self, value: float) -> None:
        self._value = value

    def __float__(self) -> float:
        return float(self._value)


INTEGER_TYPES: Final[list[Callable[[int], object]]] = [
    *(np.int64, np.uint8, Index),
    lambda value: np.array(value, np.int32),
]
REAL_TYPES: Final[list[Callable[[int], object]]] = [
    *(float, np.float32, np.float16, np.int64, np.array, Decimal, Fraction, Index, Float),
]
INVALID_INTEGERS: Final = [True, 1.5, -1, 10**30, float("nan"), "x", b"1", [1]]
INVALID_REALS: Final = [
    True,
    float("nan"),
    -float("inf"),
    10.0**300,
    10**5000,
    "x",
    b"1",
    [1.0],
    1j,
]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAMECACHE_URL", str(tmp_path_factory.mktemp("numbers")))
        cache = FrameCache()
        chunk = str(clips.clip())
        cache.timeline("t").extract(chunk)
        yield Given(cache, cache.timeline("t"), chunk)


def parameters(of: object, name: str) -> Iterator[str]:
    """Yield the names of a function's parameters that take numbers."""
    signature = inspect.signature(of, eval_str=False)  # type: ignore[arg-type]
    for parameter in signature.parameters.values():
        text = str(parameter.annotation).replace("SupportsIndex", "int")
        is_other = parameter.name in {"self", "out", "image", "progress"}
        if not is_other and NUMERIC.search(text):
            yield f"{name}.{parameter.name}"


def numeric_parameters() -> set[str]:
    found: set[str] = set()
    for kind in (FrameCache, Timeline, Overlays, Sprites, Prices):
        found |= {*parameters(kind, kind.__name__)}
        for name, member in vars(kind).items():
            if not name.startswith("_") and inspect.isfunction(member):
                found |= {*parameters(member, f"{kind.__name__}.{name}")}
    found |= {*parameters(Frame, "Frame"), *parameters(Chunk, "Chunk")}
    for name, member in vars(functional).items():
        if (
            inspect.isfunction(member)
            and member.__module__ == functional.__name__
            and name[0] != "_"
        ):
            found |= {*parameters(member, f"functional.{name}")}
    return found


def is_possible(parameter: str, kind: object) -> bool:
    """Return True if a value can be a key of a mapping, where it must be."""
    keys = {int, float, np.int64, np.uint8, Index}
    return parameter != "Overlays.save_many.frames" or kind in keys


def test_every_numeric_public_parameter_is_listed() -> None:
    assert numeric_parameters() == set(INTEGERS) | set(REALS)


@pytest.mark.parametrize("parameter", INTEGERS)
def test_integer_of_any_type_is_accepted(given: Given, parameter: str) -> None:
    value = VALUES.get(parameter, 2)
    for kind in INTEGER_TYPES:
        if (
            is_possible(parameter, kind)
            and value <= np.iinfo(kind if kind is np.uint8 else int).max
        ):
            INTEGERS[parameter](given, kind(value))


@pytest.mark.parametrize("parameter", INTEGERS)
def test_invalid_integer_is_rejected(given: Given, parameter: str) -> None:
    for value in INVALID_INTEGERS:
        if not is_possible(parameter, type(value)):
            continue
        with pytest.raises(InvalidValue):
            INTEGERS[parameter](given, value)


@pytest.mark.parametrize("parameter", REALS)
def test_real_number_of_any_type_is_accepted(given: Given, parameter: str) -> None:
    for kind in REAL_TYPES:
        REALS[parameter](given, kind(1))


@pytest.mark.parametrize("parameter", REALS)
def test_invalid_real_number_is_rejected(given: Given, parameter: str) -> None:
    for value in INVALID_REALS:
        with pytest.raises(InvalidValue) as raised:
            REALS[parameter](given, value)
        assert len(str(raised.value)) < 400
