"""Error boundary of this package: only framecache's errors and those of the file leave it.

PyAV, numpy and OpenCV raise many kinds of errors on damaged or unusual videos, and no list of them
is complete. The decorators below turn every ``Exception`` into ``UnreadableChunk``, including
``MemoryError``, since the video determines how much memory is requested. Anything that is not an
``Exception``, such as ``KeyboardInterrupt``, passes unchanged.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar, runtime_checkable

from framecache.errors import ChunkChanged, FrameCacheError, UnreadableChunk

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Self = TypeVar("_Self")

ByteRange: TypeAlias = tuple[int, int]
"""Half-open range of bytes of a file."""


class VideoFile(Protocol):
    """Methods of a binary file that this package calls."""

    def read(self, size: int, /) -> bytes | None:
        """Read at most ``size`` bytes; return no bytes at the end of the file."""
        ...

    def seek(self, offset: int, whence: int = ..., /) -> int:
        """Move to a byte offset and return the new position."""
        ...

    def tell(self) -> int:
        """Return the offset of the next byte to read."""
        ...


class TablesContradicted(ChunkChanged):
    """Error for a video whose pictures contradict the sample tables by which it was planned.

    Nothing that was decoded by that plan may be committed from then on. The video has to be
    planned again, from a scan.
    """


@runtime_checkable
class PlannedFile(Protocol):
    """File that can use a notice of what will be read, such as an object in a store."""

    def expect(self, ranges: Sequence[ByteRange] | None, /, *, keep: bool = False) -> None:
        """See `framecache.store.BlobFile.expect`."""
        ...


def expect_ranges(
    file: VideoFile, ranges: Sequence[ByteRange] | None, *, keep: bool = False
) -> None:
    """Announce to a file what will be read next, if it can use that; None: all of it, in order."""
    if isinstance(file, PlannedFile):
        file.expect(ranges, keep=keep)


def translate_errors(
    method: Callable[Concatenate[_Self, _P], _T],
) -> Callable[Concatenate[_Self, _P], _T]:
    """Make a method raise framecache's errors only; their messages name ``str(self)``."""

    @wraps(method)
    def typed(self: _Self, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with translating(self):
            return method(self, *args, **kwargs)

    return typed


def translate_read_errors(
    function: Callable[Concatenate[VideoFile, _P], _T],
) -> Callable[Concatenate[VideoFile, _P], _T]:
    """Make a function of a file and its ``name`` raise framecache's errors only.

    Errors that the file itself raises pass unchanged.
    """

    @wraps(function)
    def typed(file: VideoFile, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        witness = _ErrorRecorder(file)
        with translating(str(kwargs["name"]), witness):
            return function(witness, *args, **kwargs)

    return typed


def translate_iteration_errors(
    function: Callable[Concatenate[VideoFile, _P], Iterator[_T]],
) -> Callable[Concatenate[VideoFile, _P], Iterator[_T]]:
    """Do the same as ``translate_read_errors`` for a generator function."""

    @wraps(function)
    def typed(file: VideoFile, /, *args: _P.args, **kwargs: _P.kwargs) -> Iterator[_T]:
        witness = _ErrorRecorder(file)
        with translating(str(kwargs["name"]), witness):
            yield from function(witness, *args, **kwargs)

    return typed


class _ErrorRecorder:
    """Wrapper of a file that remembers the last error that the file raised."""

    def __init__(self, file: VideoFile) -> None:
        self._file = file
        self.last_error: BaseException | None = None

    def read(self, size: int) -> bytes | None:
        try:
            return self._file.read(size)
        except BaseException as error:
            self.last_error = error
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except BaseException as error:
            self.last_error = error
            raise

    def tell(self) -> int:
        try:
            return self._file.tell()
        except BaseException as error:
            self.last_error = error
            raise

    def expect(self, ranges: Sequence[ByteRange] | None, *, keep: bool = False) -> None:
        expect_ranges(self._file, ranges, keep=keep)


@contextmanager
def translating(name: object, recorder: _ErrorRecorder | None = None) -> Iterator[None]:
    """Make a block raise framecache's errors only, apart from those that a recorder has seen."""
    try:
        yield
    except FrameCacheError:
        raise
    except Exception as error:
        if recorder is not None and error is recorder.last_error:
            raise
        raise _to_bad_chunk(str(name), error) from error


def _to_bad_chunk(name: str, error: Exception) -> UnreadableChunk:
    if isinstance(error, MemoryError):
        return UnreadableChunk(
            f"{name} needs more memory than there is: give the process more, or extract fewer "
            "chunks at once"
        )
    return UnreadableChunk(
        f"{name} cannot be read, because the video library failed ({type(error).__name__}): "
        "make another copy of it, for example with 'ffmpeg -i FILE -map 0:v -c:v ffv1 "
        "COPY.mkv'"
    )
