"""Inventory of a timeline's blobs: where they lie, and which ones are referenced; pure.

Garbage collection and verification decide from it which blobs are in use. ``gc.rules`` adds what
may be deleted and when, ``verify.unreferenced`` the findings.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from framecache._core import keys
from framecache._core.manifest import Manifest
from framecache._index import Index, pack_keys, rendition_objects
from framecache._layouts import layout_of
from framecache.store import BlobInfo

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class EpochFolder(StrEnum):
    """Folder of a timeline with a subfolder per epoch, by its name in the store."""

    INDEX = "index"
    LEASES = "claims"
    PACKS = "packs"
    RENDITIONS = "renditions"
    SPRITES = "sprites"


@dataclass(frozen=True, slots=True)
class EpochBlob:
    """Place of a blob in one of these folders."""

    folder: EpochFolder
    epoch: str
    """Name of the subfolder; empty if the blob is in none."""
    is_valid: bool
    """True if its name is one that framecache gives to blobs of this folder."""


def parse_epoch_blob(timeline_id: str, key: str) -> EpochBlob | None:
    """Return the place of a blob, or None if it is in none of the folders with epochs."""
    name, _, rest = key.removeprefix(keys.timeline_prefix(timeline_id)).partition("/")
    if name not in _EPOCH_FOLDERS:
        return None
    folder = EpochFolder(name)
    epoch, slash, file_name = rest.partition("/")
    is_valid = bool(slash) and _has_valid_name(folder, timeline_id, key)
    # Renditions have a subfolder for each size.
    is_valid &= "/" not in file_name or folder is EpochFolder.RENDITIONS
    return EpochBlob(folder, epoch if slash else "", is_valid)


_EPOCH_FOLDERS: Final = frozenset(EpochFolder)


def _has_valid_name(folder: EpochFolder, timeline_id: str, key: str) -> bool:
    match folder:
        case EpochFolder.INDEX:
            return keys.parse_index(key) is not None
        case EpochFolder.LEASES:
            return keys.parse_lease(key) is not None
        case EpochFolder.PACKS:
            return keys.parse_pack(timeline_id, key) is not None
        case EpochFolder.RENDITIONS:
            return keys.parse_rendition(timeline_id, key) is not None
        case EpochFolder.SPRITES:
            return keys.parse_sprite(timeline_id, key) is not None


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """Frames, renditions and packs that committed rows reference."""

    sequences: IntArray
    """Frames whose public key is in use, ascending."""
    packs: frozenset[str]
    """Keys of packs, those of renditions included."""
    renditions: Mapping[str, IntArray]
    """Frames whose renditions are blobs of their own, ascending, by the prefix of the keys."""
    age_reference_parts: frozenset[str]
    """Parts whose files date the frames that replaced others."""

    @classmethod
    def of_rows(cls, manifest: Manifest, rows: Iterable[Index]) -> Self:
        """Collect the references of current rows: of those that no later part replaced."""
        # The public key of a replaced frame is reserved for its new picture: whatever is there now
        # is replaced when the frame is relocated.
        has_public_keys = layout_of(manifest).has_public_keys
        sequences = [np.empty(0, np.int64)]
        packs: set[str] = set()
        renditions: dict[str, list[IntArray]] = defaultdict(list)
        age_reference_parts: set[str] = set()
        for index in rows:
            is_stored = index.is_ok & ~index.is_decoded_on_demand
            sequences.append(index.sequence[is_stored & ((index.offset == 0) | has_public_keys)])
            packs |= pack_keys(index)
            for prefix, found in rendition_objects(index).items():
                renditions[prefix].append(found)
            age_reference_parts.update(index.picture_since.tolist())
        return cls(
            np.sort(np.concatenate(sequences)),
            frozenset(packs),
            {prefix: np.sort(np.concatenate(found)) for prefix, found in renditions.items()},
            frozenset(age_reference_parts - {""}),
        )

    def has_epoch_blob(self, timeline_id: str, key: str) -> bool:
        """Return True if a blob in a folder with epochs is a pack or rendition that is in use."""
        if key in self.packs:
            return True
        rendition = keys.parse_rendition(timeline_id, key)
        named = self.renditions.get(key[: key.rfind("/") + 1])
        if rendition is None or rendition[1] is None or named is None:
            return False
        return bool(is_member(named, np.array([rendition[1]]))[0])


NO_REFERENCES: Final = References(np.empty(0, np.int64), frozenset(), {}, frozenset())


def is_member(ordered: IntArray, wanted: IntArray) -> BoolArray:
    """Return a mask of the wanted numbers that a sorted array contains."""
    if not len(ordered):
        return np.zeros(len(wanted), dtype=np.bool_)
    positions = np.searchsorted(ordered, wanted)
    found: BoolArray = ordered[np.minimum(positions, len(ordered) - 1)] == wanted
    return found


def referenced_index_files(manifest: Manifest) -> dict[str, int]:
    """Return the number of the index file that a manifest names, by part.

    The compaction is among them, under the part that stands for all parts in its name.
    """
    named = {part: manifest.generations.get(part, 0) for part in manifest.parts}
    if manifest.compaction is not None:
        named[manifest.compaction.name] = manifest.compaction.number
    return named


def index_files_by_part(blobs: Iterable[BlobInfo]) -> dict[str, dict[int, BlobInfo]]:
    """Group index files of one epoch by part and number."""
    by_part: dict[str, dict[int, BlobInfo]] = defaultdict(dict)
    for blob in blobs:
        if (parsed := keys.parse_index(blob.key)) is not None:
            part, number = parsed
            by_part[part][number] = blob
    return by_part


def age_reference_files(
    blobs: Iterable[BlobInfo], manifest: Manifest, age_reference_parts: frozenset[str]
) -> set[str]:
    """Return the keys of the files that date the current frames, even if rows were repaired since.

    These are the oldest file of all parts, and of each part that replaced frames.
    """
    files = {
        part: [*numbered.values()]
        for part, numbered in index_files_by_part(blobs).items()
        if part in manifest.parts
    }
    groups = [[blob for found in files.values() for blob in found]]
    groups += [files[part] for part in age_reference_parts if part in files]
    oldest = (min(group, key=_storage_order, default=None) for group in groups)
    return {blob.key for blob in oldest if blob is not None}


def _storage_order(blob: BlobInfo) -> tuple[datetime, str]:
    return blob.modified_at, blob.key
