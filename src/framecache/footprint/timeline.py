"""The footprint of a timeline as it is, and as it would be in the other layout."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from framecache.footprint import requests
from framecache.footprint.frames import Lying, Sizes, lying_as, lying_now
from framecache.index import Snapshot
from framecache.manifest import ChunkEntry, Compaction, Description, Settings, first_description
from framecache.model import Layout, Requests


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the cached frames of a timeline take in a layout.

    Requests are those of a store that speaks S3, with nobody else at work on the timeline.
    """

    layout: Layout
    frame_count: int
    """Frames with a picture."""
    blobs: int
    """Of frames: JPEGs or packs."""
    stored_bytes: int
    """Of these blobs; the index comes on top, with some tens of bytes a frame."""
    read_bytes: int
    """Carried when every frame is read once, in order."""
    fill: Requests | None
    """To extract the cached chunks once, or to write the frames in one call; None when another
    program stored them."""
    read_all: Requests
    """To open the timeline and read every frame once, in order."""
    read_one: Requests
    """To open the timeline and read one frame; each further one is one GET."""


def timeline_footprint(snapshot: Snapshot, layout: Layout | None) -> Footprint:
    """The footprint of what is cached, in a layout; None: in the one it has."""
    described = snapshot.description
    parts = _parts_of(snapshot)
    if described is None:
        return _footprint("objects", snapshot, lying_now(snapshot.index), fill=None)
    own = described.settings.layout
    settings = replace(described.settings, layout=layout or own)
    fill = _fill(described, settings, _cached_chunks(snapshot), parts)
    if settings.layout == own:
        return _footprint(own, snapshot, lying_now(snapshot.index), fill=fill)
    moved = replace(snapshot, description=_moved(snapshot, described))
    return _footprint(settings.layout, moved, lying_as(settings.layout, parts), fill=fill)


def first_footprint(
    timeline_id: str, settings: Settings, chunks: tuple[ChunkEntry, ...], parts: Sequence[Sizes]
) -> Footprint:
    """The footprint of chunks that are extracted in one call, given the sizes of their JPEGs."""
    described = first_description(timeline_id, settings, chunks=chunks)
    lying = lying_as(settings.layout, parts)
    opening = Requests(lists=1, gets=2)
    return _summed(
        settings.layout,
        lying,
        opening + requests.of_noting_use(has_chunks=True),
        fill=_fill(described, settings, chunks, parts),
    )


def _cached_chunks(snapshot: Snapshot) -> tuple[ChunkEntry, ...]:
    chunks = snapshot.description.chunks if snapshot.description else ()
    missing = set(snapshot.missing_parts)
    return tuple(chunk for chunk in chunks if chunk.part not in missing)


def _parts_of(snapshot: Snapshot) -> list[Sizes]:
    """The sizes of the JPEGs of each committed chunk; of frames a program wrote, all together."""
    index = snapshot.index
    chunks = _cached_chunks(snapshot)
    if not chunks:
        return [index.size[index.is_ok]]
    bounds = index.sequence.searchsorted(
        [(one.first_sequence, one.stop_sequence) for one in chunks]
    )
    return [index.size[start:stop][index.is_ok[start:stop]] for start, stop in bounds.tolist()]


def _fill(
    described: Description,
    settings: Settings,
    chunks: tuple[ChunkEntry, ...],
    parts: Sequence[Sizes],
) -> Requests:
    frame_puts = lying_as(settings.layout, parts).puts
    if not described.chunks:
        return requests.of_writing(frame_puts=frame_puts)
    return requests.of_extracting(
        chunks,
        current=None,
        following=first_description(described.timeline_id, settings, chunks=chunks),
        committed=(),
        frame_puts=frame_puts,
        most_index_files=1,
    )


def _moved(snapshot: Snapshot, described: Description) -> Description:
    """The description after a change of layout, which compacts a timeline that is complete."""
    compaction = None if snapshot.missing_parts else Compaction(0, described.parts)
    return replace(described, compaction=compaction)


def _footprint(
    layout: Layout, snapshot: Snapshot, lying: Lying, *, fill: Requests | None
) -> Footprint:
    has_chunks = bool(snapshot.description and snapshot.description.chunks)
    opening = requests.of_opening(snapshot) + requests.of_noting_use(has_chunks=has_chunks)
    return _summed(layout, lying, opening, fill=fill)


def _summed(layout: Layout, lying: Lying, opening: Requests, *, fill: Requests | None) -> Footprint:
    return Footprint(
        layout=layout,
        frame_count=lying.frame_count,
        blobs=lying.blobs,
        stored_bytes=lying.stored_bytes,
        read_bytes=lying.read_bytes,
        fill=fill,
        read_all=opening + Requests(gets=lying.gets),
        read_one=opening + Requests(gets=1),
    )
