"""All errors of libraries leave the package video as typed errors."""

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import av
import av.error
import cv2
import numpy as np
import pytest
from av.sidedata.sidedata import SideDataContainer

from framecache._media import video
from framecache._media.video import container, decoded
from framecache.errors import FrameCacheError, UnreadableChunk
from media import made, make_clip

ERRORS: list[Exception] = [
    ArithmeticError("x"),
    AssertionError("x"),
    AttributeError("x"),
    BufferError("x"),
    IndexError("x"),
    KeyError("x"),
    MemoryError("x"),
    NotImplementedError("x"),
    OSError("x"),
    OverflowError("x"),
    RecursionError("x"),
    RuntimeError("x"),
    StopIteration("x"),
    TypeError("x"),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "x"),
    ValueError("x"),
    cv2.error("x"),
    av.error.EOFError(1, "x"),
    av.error.FFmpegError(1, "x"),
    av.error.InvalidDataError(1, "x"),
    av.error.MemoryError(1, "x"),
    av.error.PatchWelcomeError(1, "x"),
]
PLACES = [
    "open",
    "container.format",
    "container.streams",
    "container.demux",
    "container.seek",
    "container.close",
    "demuxed",
    "stream.codec_context",
    "stream.disposition",
    "stream.time_base",
    "stream.average_rate",
    "codec_context.codec",
    "codec_context.decode",
    "codec_context.extradata",
    "codec_context.flush_buffers",
    "codec_context.options",
    "codec_context.reorder_depth",
    "codec_context.thread_count",
    "packet.pts",
    "packet.size",
    "packet.is_keyframe",
    "packet.is_corrupt",
    "packet.has_sidedata",
    "frame.pts",
    "frame.width",
    "frame.format",
    "frame.planes",
    "frame.color_range",
    "frame.colorspace",
    "side data",
    "numpy",
]


class Trap:
    """Stand-in for objects of PyAV, which raises an error at one attribute."""

    _WRAPPED = ("stream", "codec_context", "packet", "frame")

    def __init__(self, real: Any, kind: str, place: str, error: BaseException) -> None:  # noqa: ANN401
        object.__setattr__(self, "real", real)
        object.__setattr__(self, "trap", (kind, place, error))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        kind, place, error = self.trap
        sprung(f"{kind}.{name}", place, error)
        value = getattr(self.real, name)
        if callable(value):
            return lambda *arguments, **named: self._wrap(
                name, value(*map(bare, arguments), **{key: bare(one) for key, one in named.items()})
            )
        return self._wrap(name, value)

    def __setattr__(self, name: str, value: object) -> None:
        kind, place, error = self.trap
        sprung(f"{kind}.{name}", place, error)
        setattr(self.real, name, value)

    def __bool__(self) -> bool:
        return bool(self.real)

    def __bytes__(self) -> bytes:
        return bytes(self.real)

    def _wrap(self, name: str, value: Any) -> Any:  # noqa: ANN401
        _, place, error = self.trap
        match name:
            case "demux":
                return self._demuxed(value)
            case "decode":
                return [Trap(frame, "frame", place, error) for frame in value]
            case "streams":
                return Trap(value, "streams", place, error)
            case "video":
                return [Trap(stream, "stream", place, error) for stream in value]
            case "codec_context":
                return Trap(value, "codec_context", place, error)
        return value

    def _demuxed(self, packets: Iterator[Any]) -> Iterator[Any]:
        _, place, error = self.trap
        for packet in packets:
            sprung("demuxed", place, error)
            yield Trap(packet, "packet", place, error)


SPRUNG: Counter[str] = Counter()


def sprung(here: str, place: str, error: BaseException) -> None:
    SPRUNG[here] += here == place
    if here == place:
        raise error


def bare(value: Any) -> Any:  # noqa: ANN401
    return value.real if isinstance(value, Trap) else value


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _video() -> bytes:
    options = ("-g", "2", "-bf", "0")
    path = made("few.mp4", lambda one: make_clip(one, size=(32, 32), frames=60, extra=options))
    return path.read_bytes()


def set_traps(monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException) -> None:
    really_open = av.open

    def trapped_open(*arguments: Any, **named: Any) -> Trap:  # noqa: ANN401
        sprung("open", place, error)
        return Trap(really_open(*arguments, **named), "container", place, error)

    def side_data(frame: Any) -> Any:  # noqa: ANN401
        sprung("side data", place, error)
        return SideDataContainer(bare(frame))  # type: ignore[call-arg]

    def from_buffer(*arguments: Any) -> Any:  # noqa: ANN401
        sprung("numpy", place, error)
        return np.frombuffer(*arguments)

    monkeypatch.setattr(container, "memoryview", lambda one: memoryview(bare(one)), raising=False)
    SPRUNG.clear()
    monkeypatch.setattr(av, "open", trapped_open)
    monkeypatch.setattr(decoded, "SideDataContainer", side_data)
    monkeypatch.setattr(decoded, "np", Numpy(from_buffer))


class Numpy:
    def __init__(self, frombuffer: object) -> None:
        self.frombuffer = frombuffer

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(np, name)


def use_all_of_it(monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException) -> None:
    """Call every public function, with a trap at one place."""
    data = _video()
    known = video.scan(io.BytesIO(data), name="chunk")
    set_traps(monkeypatch, place, error)
    try:
        video.scan(io.BytesIO(data), name="chunk")
    finally:
        for wanted in (known.pts[:2], known.pts[-1:]):
            for item in video.decode(io.BytesIO(data), known, wanted, name="chunk", threads=1):
                if isinstance(item, video.Decoded):
                    item.size()
                    item.to_planes()


def test_library_errors_surface_only_as_framecache_errors(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in ERRORS:
        with monkeypatch.context() as patch, suppress(FrameCacheError):
            use_all_of_it(patch, place, error)
        assert SPRUNG[place] > 0


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(3)])
def test_interrupts_are_raised_unchanged(
    place: str, interrupt: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(type(interrupt)):
        use_all_of_it(monkeypatch, place, interrupt)


def test_memory_error_is_reported_as_insufficient_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableChunk, match=r"^chunk needs more memory than there is: give"):
        use_all_of_it(monkeypatch, "codec_context.decode", MemoryError())
