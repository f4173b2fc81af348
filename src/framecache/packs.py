"""What a pack is made of: an uncompressed tar that is a WebDataset shard. Pure: no I/O.

Each frame is two members, ``{sequence}.jpg`` and ``{sequence}.json``. Readers of the cache go by
the offsets in the index, and need neither the tar's headers nor the JSON.
"""

import json
import tarfile
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_BLOCK_BYTES: Final = tarfile.BLOCKSIZE

HEADER_BYTES: Final = _BLOCK_BYTES
"""How many bytes of a pack come before the first JPEG."""

END: Final = bytes(2 * _BLOCK_BYTES)
"""The last bytes of a tar."""


def frame_members(sequence: int, jpeg: bytes, about: Mapping[str, Any]) -> bytes:
    """The two members of a frame; the JPEG begins after ``HEADER_BYTES`` of them.

    The same frame always gives the same bytes: nothing tells when or by whom it was stored.
    """
    described = json.dumps(about, separators=(",", ":")).encode()
    return _member(f"{sequence}.jpg", jpeg) + _member(f"{sequence}.json", described)


def frame_bytes(jpeg_bytes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How long the members of frames are whose JPEGs have so many bytes.

    What is told of a frame fits in one block.
    """
    return 3 * _BLOCK_BYTES + jpeg_bytes + -jpeg_bytes % _BLOCK_BYTES


def _member(name: str, data: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = len(data)
    padding = bytes(-len(data) % _BLOCK_BYTES)
    return b"".join([header.tobuf(tarfile.USTAR_FORMAT), data, padding])
