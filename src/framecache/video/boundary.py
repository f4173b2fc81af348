"""The boundary of this room: what leaves it is an error of framecache, or one of the file.

PyAV, numpy and OpenCV raise what they like, and damaged or unusual videos find new ways to make
them. Here, all of it becomes ``BadChunk``. So does a lack of memory, since the video decides how
much is asked for. Only what is no ``Exception``, such as an interrupt, passes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from framecache.errors import BadChunk, FrameCacheError

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Self = TypeVar("_Self")


class VideoFile(Protocol):
    """The part of a binary file that is used of a video."""

    def read(self, size: int, /) -> bytes | None:
        """At most ``size`` bytes; none at the end."""
        ...

    def seek(self, offset: int, whence: int = ..., /) -> int:
        """Go to a byte, and return its number."""
        ...

    def tell(self) -> int:
        """The number of the byte that is read next."""
        ...


def typed_errors(
    method: Callable[Concatenate[_Self, _P], _T],
) -> Callable[Concatenate[_Self, _P], _T]:
    """Decorate a method: it raises framecache's errors only, which say ``str(self)``."""

    @wraps(method)
    def typed(self: _Self, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with _typed(str(self), None):
            return method(self, *args, **kwargs)

    return typed


def typed_reading(
    function: Callable[Concatenate[VideoFile, _P], _T],
) -> Callable[Concatenate[VideoFile, _P], _T]:
    """Decorate a function of a file and its ``name``: the errors it raises are framecache's.

    What the file itself raises passes unchanged.
    """

    @wraps(function)
    def typed(file: VideoFile, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        witness = _Witness(file)
        with _typed(str(kwargs["name"]), witness):
            return function(witness, *args, **kwargs)

    return typed


def typed_iteration(
    function: Callable[Concatenate[VideoFile, _P], Iterator[_T]],
) -> Callable[Concatenate[VideoFile, _P], Iterator[_T]]:
    """Decorate as ``typed_reading`` does a function that yields."""

    @wraps(function)
    def typed(file: VideoFile, /, *args: _P.args, **kwargs: _P.kwargs) -> Iterator[_T]:
        witness = _Witness(file)
        with _typed(str(kwargs["name"]), witness):
            yield from function(witness, *args, **kwargs)

    return typed


class _Witness:
    """A file that remembers what it raised."""

    def __init__(self, file: VideoFile) -> None:
        self._file = file
        self.raised: BaseException | None = None

    def read(self, size: int) -> bytes | None:
        with self._watched():
            return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        with self._watched():
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        with self._watched():
            return self._file.tell()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.raised = error
            raise


@contextmanager
def _typed(name: str, witness: _Witness | None) -> Iterator[None]:
    try:
        yield
    except FrameCacheError:
        raise
    except Exception as error:
        if witness is not None and error is witness.raised:
            raise
        raise _bad_chunk(name, error) from error


def _bad_chunk(name: str, error: Exception) -> BadChunk:
    if isinstance(error, MemoryError):
        return BadChunk(
            f"{name} takes more memory than there is: give the process more, or extract fewer "
            f"chunks at once"
        )
    return BadChunk(
        f"{name} cannot be read, since the video library failed ({type(error).__name__}): give "
        f"another copy of it, such as by 'ffmpeg -i FILE -map 0:v -c:v ffv1 COPY.mkv'"
    )
