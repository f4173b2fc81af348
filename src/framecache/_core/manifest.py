"""Manifest of a timeline: its chunks, settings and epoch. Pure: no I/O.

The class of a manifest is named `Manifest`. Manifests are numbered and immutable: the highest
version is current. The functions here create the next version; :mod:`framecache._index` stores it.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import google_crc32c

from framecache._core import chunk_entry, json_documents, keys, sampling
from framecache._core.chunk_entry import ChunkEntry, Segment
from framecache._core.frame_size import list_sides
from framecache._core.sampling import EveryFrame, Sampling
from framecache._version import __version__
from framecache.errors import CorruptFrame, SettingsConflict
from framecache.model import (
    DEFAULT_LAYOUT,
    Chroma,
    JpegSettings,
    Layout,
)

FORMAT: Final = 2
"""Newest format that this version reads."""
_FIRST_FORMAT: Final = 1
"""Format of manifests that earlier versions read, too."""
_LAYOUTS_OF_FIRST_FORMAT: Final = frozenset({"objects", "packs"})
_SUBSAMPLINGS: Final[dict[str, Chroma]] = {"4:2:0": "420", "4:4:4": "444"}
"""Stored names of each resolution of color."""
_CHECKSUM_KEY: Final = "crc32c"
"""Name of the entry that holds the checksum; it is the last one in documents of every format."""
_END: Final = b"\n}"


@dataclass(frozen=True, slots=True)
class Compaction:
    """Compaction: one index file that holds the rows of several committed parts."""

    number: int
    parts: tuple[str, ...]
    has_compacted_suffix: bool = True
    """True if its key does not match ``*.parquet``; False for compactions by earlier versions."""

    @property
    def name(self) -> str:
        """Name that its file has in place of a part's name."""
        return keys.COMPACTED if self.has_compacted_suffix else keys.COMPACTION


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that, together with the chunks, determine the frames of a timeline."""

    sampling: Sampling = field(default_factory=EveryFrame)
    jpeg: JpegSettings = field(default_factory=JpegSettings)
    layout: Layout = DEFAULT_LAYOUT

    def __str__(self) -> str:
        return self.describe(self)

    def has_same_frames(self, other: "Settings") -> bool:
        """Return True if the frames stored with both are equal, whatever their renditions."""
        jpeg = replace(other.jpeg, renditions=self.jpeg.renditions)
        return self == replace(other, jpeg=jpeg)

    def describe(self, other: "Settings") -> str:
        """Describe these settings, defaults only where they differ from ``other``."""
        jpeg, compared = self.jpeg, other.jpeg
        words = [str(self.sampling), f"JPEG quality {jpeg.quality}"]
        if jpeg.aspect == "square" or compared.aspect != jpeg.aspect:
            words.append(f"{jpeg.aspect} pixels")
        if jpeg.max_side is not None:
            words.append(f"sides of at most {jpeg.max_side} pixels")
        elif compared.max_side is not None:
            words.append("sides of any size")
        if jpeg.chroma != "420" or compared.chroma != jpeg.chroma:
            words.append(f"chroma {jpeg.chroma}")
        if jpeg.renditions:
            words.append(f"renditions {list_sides(jpeg.renditions)}")
        elif compared.renditions:
            words.append("no renditions")
        return ", ".join([*words, f"layout {self.layout}"])


@dataclass(frozen=True, slots=True)
class Manifest:
    """Version of a timeline's manifest."""

    timeline_id: str
    version: int
    write_id: str
    """Random; after a lost response, the writer recognizes its own stored version by it."""
    epoch: str
    settings: Settings
    chunks: tuple[ChunkEntry, ...] = ()
    written_parts: tuple[str, ...] = ()
    """Index parts of frames that programs wrote, oldest first."""
    compaction: Compaction | None = None
    generations: Mapping[str, int] = field(default_factory=dict)
    """Current generation of each index part that was repaired; 0 for all others."""
    begun: bool = False
    """True if the epoch has, or will get, committed chunks: only a clear or a rebuild ends it."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of all index parts of the timeline, committed or not."""
        return (*(part for chunk in self.chunks for part in chunk.parts), *self.written_parts)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Segments of all chunks, in order of time."""
        return tuple(segment for chunk in self.chunks for segment in chunk.segments)

    @property
    def frame_count(self) -> int:
        """Number of sampled frames of all chunks; frames that programs wrote are not counted."""
        return self.chunks[-1].stop_sequence if self.chunks else 0

    @property
    def compaction_key(self) -> str | None:
        """Key of the current compaction; None if there is none."""
        if self.compaction is None:
            return None
        name_key = (
            keys.compacted_index
            if self.compaction.has_compacted_suffix
            else keys.legacy_compacted_index
        )
        return name_key(self.timeline_id, epoch=self.epoch, number=self.compaction.number)

    @property
    def _format(self) -> int:
        is_new = self.settings.layout not in _LAYOUTS_OF_FIRST_FORMAT
        # A program that ignores these would extract, append and repair frames of another size.
        jpeg = self.settings.jpeg
        is_new |= jpeg.max_side is not None or jpeg.chroma != "420" or bool(jpeg.renditions)
        is_new |= any(chunk.needs_second_format for chunk in self.chunks)
        return FORMAT if is_new else _FIRST_FORMAT

    def index_key(self, part: str) -> str:
        """Return the key of the current generation of an index part."""
        return keys.index_part(
            self.timeline_id,
            epoch=self.epoch,
            part=part,
            generation=self.generations.get(part, 0),
        )

    def next_version(self, **changes: Any) -> Self:  # noqa: ANN401 -- the fields' own types
        """Return the next version, with ``changes`` applied, ready to be stored."""
        return replace(self, version=self.version + 1, write_id=new_write_id(), **changes)

    def next_epoch(self, **changes: Any) -> Self:  # noqa: ANN401 -- the fields' own types
        """Return the next version as the start of a new epoch, in which nothing is committed."""
        return self.next_version(
            **{
                "epoch": _next_epoch_name(self.epoch),
                "written_parts": (),
                "compaction": None,
                "generations": {},
                "begun": False,
            }
            | changes
        )

    def after_corrupt(self, version: int) -> Self:
        """Return the version after a lost (unreadable) one, as a new epoch of these chunks.

        Args:
            version: number of the lost version. Each version lost since this one may have started
                an epoch; the new epoch's ordinal is above all of them.
        """
        lost = version - self.version
        return replace(
            self.next_epoch(epoch=_next_epoch_name(self.epoch, skipped=lost)),
            version=version + 1,
        )

    def encode(self) -> bytes:
        """Return the JSON to be stored.

        Raises:
            InvalidValue: there are too many chunks for one document.
        """
        chunks = [chunk_entry.to_json(chunk) for chunk in self.chunks]
        compaction = self.compaction and {
            "number": self.compaction.number,
            "parts": list(self.compaction.parts),
            "apart": self.compaction.has_compacted_suffix,
        }
        document = {
            "format": self._format,
            "framecache_version": __version__,
            "timeline_id": self.timeline_id,
            "version": self.version,
            "write_id": self.write_id,
            "epoch": self.epoch,
            "layout": self.settings.layout,
            "sampling": sampling.to_json(self.settings.sampling),
            "jpeg": _encode_jpeg(self.settings.jpeg),
            "aspect": self.settings.jpeg.aspect,
            "chunks": chunks,
            "written_parts": list(self.written_parts),
            "compaction": compaction,
            "generations": dict(self.generations),
            "begun": self.begun,
        }
        return _with_checksum(document)


def first_manifest(
    timeline_id: str,
    settings: Settings,
    *,
    chunks: tuple[ChunkEntry, ...] = (),
    written_parts: tuple[str, ...] = (),
) -> Manifest:
    """Return version 1 of a timeline's manifest, with its first epoch."""
    return Manifest(
        timeline_id=timeline_id,
        version=1,
        write_id=new_write_id(),
        epoch=_next_epoch_name(None),
        settings=settings,
        chunks=chunks,
        written_parts=written_parts,
    )


def decode(body: bytes, *, key: str) -> Manifest:
    """Decode a stored manifest.

    Raises:
        SettingsConflict: a newer framecache wrote the manifest.
        CorruptFrame: the manifest is damaged.
    """
    try:
        json_documents.check_bounds(body)
        _verify_checksum(body)
        document = json_documents.decode_object(body)
        stored_format = int(document["format"])
        if stored_format > FORMAT:
            raise SettingsConflict(
                f"{key} is in format {stored_format}, newer than this framecache reads "
                f"({FORMAT}): upgrade framecache"
            )
        return _from_document(document)
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise CorruptFrame(
            f"the manifest {key} is damaged ({type(error).__name__}): run 'framecache verify "
            f"{keys.timeline_id_of(key) or 'TIMELINE'} --repair'"
        ) from error


def new_write_id() -> str:
    """Return a random name for one attempt to write a blob."""
    return secrets.token_hex(16)


def _with_checksum(document: dict[str, Any]) -> bytes:
    """Encode a document for storing, with a checksum of all other entries as its last entry."""
    what = "the manifest of this timeline"
    bare = json_documents.encode_object(document, what=what)
    return json_documents.check_encoded(bare.removesuffix(_END) + _checksum_entry(bare), what=what)


def _verify_checksum(body: bytes) -> None:
    """Check the checksum against the stored bytes, without encoding the document again."""
    begin = len(body) - len(_checksum_entry(b""))
    if body[begin:] != _checksum_entry(body[:begin] + _END):
        raise ValueError(body[begin:])


def _checksum_entry(bare: bytes) -> bytes:
    return f',\n "{_CHECKSUM_KEY}": "{google_crc32c.value(bare):08x}"'.encode() + _END


def _next_epoch_name(epoch: str | None, *, skipped: int = 0) -> str:
    """Return a new epoch; its random suffix differs if a timeline is deleted and created again."""
    ordinal = int(epoch.partition("-")[0]) + 1 + skipped if epoch else 0
    return f"{ordinal:06d}-{secrets.token_hex(4)}"


def _encode_jpeg(settings: JpegSettings) -> dict[str, Any]:
    """Return what the manifest holds of the encoding; a limit and renditions only if it has any."""
    [subsampling] = (name for name, chroma in _SUBSAMPLINGS.items() if chroma == settings.chroma)
    limit = {} if settings.max_side is None else {"max_side": settings.max_side}
    renditions = {"renditions": list(settings.renditions)} if settings.renditions else {}
    return {"quality": settings.quality, "subsampling": subsampling, **limit, **renditions}


def _from_document(document: dict[str, Any]) -> Manifest:
    compaction = document["compaction"]
    return Manifest(
        timeline_id=str(document["timeline_id"]),
        version=int(document["version"]),
        write_id=str(document["write_id"]),
        epoch=str(document["epoch"]),
        settings=Settings(
            sampling=sampling.from_json(document["sampling"]),
            jpeg=JpegSettings(
                quality=document["jpeg"]["quality"],
                aspect=document.get("aspect", "stored"),
                max_side=document["jpeg"].get("max_side"),
                chroma=_SUBSAMPLINGS[document["jpeg"].get("subsampling", "4:2:0")],
                renditions=document["jpeg"].get("renditions", ()),
            ),
            layout=document["layout"],
        ),
        chunks=tuple(chunk_entry.from_json(chunk) for chunk in document["chunks"]),
        written_parts=tuple(document["written_parts"]),
        compaction=compaction
        and Compaction(
            number=int(compaction["number"]),
            parts=tuple(compaction["parts"]),
            has_compacted_suffix=bool(compaction.get("apart", False)),
        ),
        generations=dict(document["generations"]),
        # Manifests of earlier versions lack the entry; their committed parts show it instead.
        begun=bool(document.get("begun", False)),
    )
