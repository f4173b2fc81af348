"""Debug overlays: named PNGs that a stage of a job drew for one frame."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from framecache import keys
from framecache.errors import InvalidValue
from framecache.store import BlobMissing, Store

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CONCURRENT_REQUESTS: Final = 16

Result = TypeVar("Result")


@runtime_checkable
class PilImage(Protocol):
    """The part of Pillow's ``Image`` that overlays need."""

    @property
    def mode(self) -> str:
        """Pillow's name of the kind of pixels."""
        ...

    def convert(self, mode: str) -> Any:  # noqa: ANN401 -- Pillow's own type; Pillow is not needed
        """The same picture in another mode."""


Overlay = bytes | str | npt.NDArray[Any] | PilImage
"""PNG bytes, base64 of PNG bytes, a gray, RGB or RGBA array, or a Pillow image."""


class Overlays:
    """The overlays that one stage of one job drew."""

    def __init__(self, store: Store, timeline_id: str, *, job_id: str, stage: str) -> None:
        self._store = store
        self.timeline_id = keys.check_id(timeline_id, what="timeline_id")
        self.job_id = keys.check_id(job_id, what="job_id")
        self.stage = keys.check_id(stage, what="stage")

    def __repr__(self) -> str:
        return f"<Overlays of {self.timeline_id}, job {self.job_id}, stage {self.stage}>"

    def save(self, sequence: int, overlays: Mapping[str, Overlay]) -> None:
        """Store the overlays of one frame, by name; those of the same names are replaced.

        Bytes given are the bytes loaded; arrays and Pillow images are encoded as PNG. Everything
        is checked before anything is stored.

        Raises:
            InvalidId: a name that cannot be part of a key.
            InvalidValue: not a PNG, or an array no PNG can hold.
        """
        number = keys.check_sequence(sequence)
        blobs = {
            self._key(number, name): png_bytes(overlay, name=name)
            for name, overlay in overlays.items()
        }
        _at_once(lambda key: self._store.put(key, blobs[key]), list(blobs))

    def load(self, sequence: int) -> dict[str, bytes]:
        """The overlays of one frame as PNG bytes, by name; empty when it has none."""
        wanted = keys.check_sequence(sequence)
        found = {name: key for key, number, name in self._list() if number == wanted}
        bodies = _at_once(self._get, list(found.values()))
        pairs = zip(found, bodies, strict=True)
        return {name: body for name, body in sorted(pairs) if body is not None}

    def frames(self) -> list[int]:
        """The sequences that have an overlay, ascending."""
        return sorted({sequence for _, sequence, _ in self._list()})

    def clear(self) -> int:
        """Remove all overlays of this job and stage; returns how many."""
        return self._store.delete([key for key, _, _ in self._list()])

    def _key(self, sequence: int, name: str) -> str:
        return keys.overlay(
            self.timeline_id, self.job_id, self.stage, keys.check_sequence(sequence), name
        )

    def _get(self, key: str) -> bytes | None:
        try:
            return self._store.get(key)
        except BlobMissing:
            return None  # removed since it was listed

    def _list(self) -> list[tuple[str, int, str]]:
        prefix = keys.overlays_prefix(self.timeline_id, self.job_id, self.stage)
        return [
            (blob.key, *parsed)
            for blob in self._store.list(prefix)
            if (parsed := keys.parse_overlay(blob.key)) is not None
        ]


def count_jobs(store: Store, timeline_id: str) -> dict[str, dict[str, int]]:
    """How many overlays each stage of each job has: ``{job_id: {stage: count}}``."""
    prefix = keys.overlays_prefix(timeline_id)
    jobs: dict[str, dict[str, int]] = {}
    for blob in store.list(prefix):
        match blob.key.removeprefix(prefix).split("/"):
            case [job_id, stage, name] if keys.parse_overlay(name) is not None:
                stages = jobs.setdefault(job_id, {})
                stages[stage] = stages.get(stage, 0) + 1
    return {job_id: dict(sorted(jobs[job_id].items())) for job_id in sorted(jobs)}


def png_bytes(overlay: Overlay, *, name: str) -> bytes:
    """An overlay as the PNG that is stored.

    Raises:
        InvalidValue: not a PNG, not base64 of one, or an array no PNG can hold.
    """
    if isinstance(overlay, str):
        overlay = _from_base64(overlay, name)
    if isinstance(overlay, bytes | bytearray | memoryview):
        data = bytes(overlay)
        if not data.startswith(_PNG_SIGNATURE):
            raise InvalidValue(f"overlay {name!r} is not a PNG: it begins with {data[:8]!r}")
        return data
    if isinstance(overlay, np.ndarray):
        return _from_array(overlay, name)
    if isinstance(overlay, PilImage):
        mode = overlay.mode if overlay.mode in ("L", "RGB", "RGBA") else "RGBA"
        return _from_array(np.asarray(overlay.convert(mode)), name)
    raise InvalidValue(
        f"overlay {name!r} is a {type(overlay).__name__}: give PNG bytes, base64, a uint8 array "
        f"or a Pillow image"
    )


def _from_base64(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValue(f"overlay {name!r} is a string that is not base64 of a PNG") from error


def _from_array(image: npt.NDArray[Any], name: str) -> bytes:
    import cv2  # noqa: PLC0415 -- a tenth of a second that programs without overlays need not pay

    to_bgr = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    channels = image.shape[2] if image.ndim == 3 else None  # noqa: PLR2004 -- height, width, channels
    fits = image.dtype == np.uint8 and image.size > 0
    if not fits or (image.ndim != 2 and channels not in to_bgr):  # noqa: PLR2004 -- gray
        raise InvalidValue(
            f"overlay {name!r} is an array of {image.dtype} and shape {image.shape}: give uint8 "
            f"of shape (height, width), (height, width, 3) or (height, width, 4)"
        )
    pixels = image if channels is None else cv2.cvtColor(image, to_bgr[channels])
    encoded, data = cv2.imencode(".png", pixels)
    if not encoded:
        raise InvalidValue(f"overlay {name!r} of shape {image.shape} cannot be encoded as PNG")
    return bytes(data)


def _at_once(work: Callable[[str], Result], names: Sequence[str]) -> list[Result]:
    if len(names) < 2:  # noqa: PLR2004 -- a pool for one request costs more than the request
        return [work(name) for name in names]
    with ThreadPoolExecutor(min(_CONCURRENT_REQUESTS, len(names))) as pool:
        return list(pool.map(work, names))
