"""Bytes of a pack: an uncompressed tar that is a WebDataset shard.

Each frame has two members, ``{sequence}.jpg`` and ``{sequence}.json``. Readers of the cache use the
offsets in the index, and need neither the tar's headers nor the JSON.
"""

import json
import tarfile
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_BLOCK_BYTES: Final = tarfile.BLOCKSIZE

HEADER_BYTES: Final = _BLOCK_BYTES
"""Number of bytes in a pack before the first JPEG."""

END_OF_ARCHIVE: Final = bytes(2 * _BLOCK_BYTES)
"""The last bytes of a tar."""


def frame_members(sequence: int, jpeg: bytes, metadata: Mapping[str, Any]) -> bytes:
    """Return the two tar members of a frame; the JPEG starts at offset ``HEADER_BYTES``.

    The same frame always gives the same bytes: the members record neither time nor author.
    """
    document = json.dumps(metadata, separators=(",", ":")).encode()
    return tar_member(f"{sequence}.jpg", jpeg) + tar_member(f"{sequence}.json", document)


def members_bytes(jpeg_bytes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the total size of each frame's members, given the sizes of the JPEGs.

    The JSON of a frame fits in one tar block.
    """
    return 3 * _BLOCK_BYTES + jpeg_bytes + -jpeg_bytes % _BLOCK_BYTES


def tar_member(name: str, data: bytes) -> bytes:
    """Return a member of a tar, padded to whole blocks; it records neither time nor author."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    padding = bytes(-len(data) % _BLOCK_BYTES)
    return b"".join([header.tobuf(tarfile.USTAR_FORMAT), data, padding])


def pack_end(offset: npt.NDArray[np.int64], size: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the sizes in bytes of packs in which these frames are the last."""
    return offset - HEADER_BYTES + members_bytes(size) + len(END_OF_ARCHIVE)
