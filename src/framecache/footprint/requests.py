"""The requests of extracting and reading, as they are made when nobody else is at work.

Not counted, as nobody can tell them beforehand: those of reading the videos; the trial of a
store, once in a process; signs of life, one PUT every 5 s of each chunk under way; the removal of
what a clear left behind; and repetitions.
"""

from collections.abc import Collection, Sequence
from typing import Final

from framecache.claims import FRAMES_BETWEEN_CHECKS
from framecache.index import Snapshot
from framecache.manifest import ChunkEntry, Description
from framecache.model import Requests

_LOOK: Final = Requests(gets=1)
"""Whether a blob is there."""
_ENSURE_CURRENT: Final = _LOOK + Requests(gets=1)
"""No description follows, and the one that was read is still there."""
_CLAIM: Final = Requests(puts=1, deletes=1)
_LISTED_AT_ONCE: Final = 1000


def of_extracting(
    entries: Sequence[ChunkEntry],
    *,
    current: Description | None,
    following: Description,
    committed: Collection[str],
    frame_puts: int,
    most_index_files: int,
) -> Requests:
    """Extract chunks.

    Args:
        entries: the chunks.
        current: what is described before.
        following: what is described then; the same object when nothing changes.
        committed: the parts that are there already.
        frame_puts: to store the frames of the others.
        most_index_files: more of them are compacted into one.
    """
    missing = [entry for entry in entries if entry.part not in committed]
    covered = _covered(following)
    look_at_compacted = _LOOK * bool(covered)
    requests = _of_describing(current, following) + Requests(puts=frame_puts)
    if entries and current is not None:
        requests += look_at_compacted
        requests += _LOOK * sum(entry.part not in covered for entry in entries)
        requests += Requests(lists=bool(missing))  # who else is at work
    if missing and not following.begun:
        # It is begun where otherwise it would be looked whether a version follows.
        requests += Requests(puts=1) + Requests(gets=-1)
    for entry in missing:
        checks = -(-entry.frame_count // FRAMES_BETWEEN_CHECKS) + 1
        requests += _CLAIM + look_at_compacted + _LOOK + _ENSURE_CURRENT * checks
        requests += Requests(puts=1)  # the index part
    index_files = _index_files(following)
    if index_files > most_index_files:
        requests += _CLAIM + Requests(gets=index_files)
        if {entry.part for entry in entries} | set(committed) >= set(following.parts):
            requests += Requests(puts=2) + _LOOK  # compacted and described
    return requests


def of_writing(*, frame_puts: int) -> Requests:
    """Store the frames of a program as a new timeline, in one call of ``write``."""
    # Nor are there frames that another program stored.
    describing = Requests(puts=1, lists=2)
    committing = _ENSURE_CURRENT + Requests(puts=1)
    describing_part = Requests(puts=1, lists=1, gets=1) + _LOOK
    return Requests(puts=frame_puts) + describing + _CLAIM + committing + describing_part


def of_opening(snapshot: Snapshot) -> Requests:
    """Find a timeline's description and index."""
    described = snapshot.description
    if described is None:
        pages = max(1, -(-len(snapshot.index) // _LISTED_AT_ONCE))
        return Requests(lists=2 + pages)
    requests = Requests(lists=1, gets=1 + _index_files(described))
    # Parts may be missing because the timeline was cleared meanwhile.
    return requests + _ENSURE_CURRENT if snapshot.missing_parts else requests


def of_noting_use(*, has_chunks: bool) -> Requests:
    """Note that frames are read, which a process does once an hour."""
    return Requests(puts=1 if has_chunks else 0)


def _of_describing(current: Description | None, following: Description) -> Requests:
    if current is None:
        # Nor are there frames that another program stored.
        return Requests(puts=1, lists=2)
    looking_up = Requests(lists=1, gets=1)
    return looking_up if following is current else looking_up + Requests(puts=1) + _LOOK


def _covered(description: Description) -> frozenset[str]:
    """The parts whose rows a compacted index holds."""
    return frozenset(description.compaction.parts if description.compaction else ())


def _index_files(description: Description) -> int:
    covered = _covered(description)
    return len(set(description.parts) - covered) + bool(covered)
