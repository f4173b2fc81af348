"""Numbers of requests for extracting and reading, when no other program uses the timeline.

Not counted, because they cannot be predicted: reads of the videos; the test of a store's `create`,
once per process; lease heartbeats, one PUT every 5 s for each segment being extracted; a LIST when
one worker looks for the manifest while another replaces it; deletion of blobs that a clear left
behind; and retries.
"""

from collections.abc import Collection, Sequence
from typing import Final

from framecache._core.chunk_entry import Segment
from framecache._core.manifest import Manifest
from framecache._index import MAX_PROBED_PARTS, Snapshot
from framecache._index.lease import FRAMES_BETWEEN_CHECKS
from framecache._ingest.rolling_compaction import (
    COMMITS_BETWEEN_CHECKS,
    COMMITS_BETWEEN_COMPACTIONS,
)
from framecache._layouts import LAYOUTS
from framecache.model import Requests

_EXISTENCE_CHECK: Final = Requests(gets=1)
"""Requests that check whether a blob exists."""
_ENSURE_CURRENT: Final = _EXISTENCE_CHECK + Requests(gets=1)
"""Requests that check that no newer manifest exists, and that the one read still does."""
_LEASE: Final = Requests(puts=1, deletes=1)
_LIST_PAGE_SIZE: Final = 1000


def count_extraction_requests(
    segments: Sequence[Segment],
    *,
    current: Manifest | None,
    next_manifest: Manifest,
    committed: Collection[str],
    frame_puts: int,
    max_index_files: int,
) -> Requests:
    """Return the requests for extracting segments of chunks.

    Args:
        segments: the segments.
        current: the manifest before the extraction; None for a new timeline.
        next_manifest: the manifest for the extraction; the same object if nothing changes.
        committed: the index parts that are already committed.
        frame_puts: number of requests to store the frames of the other parts.
        max_index_files: number of index files above which they are compacted into one.
    """
    missing = [segment for segment in segments if segment.part not in committed]
    covered = _compacted_parts(next_manifest)
    look_at_compacted = _EXISTENCE_CHECK * bool(covered)
    requests = _count_manifest_requests(current, next_manifest) + Requests(puts=frame_puts)
    if segments and current is not None:
        requests += look_at_compacted
        requests += _EXISTENCE_CHECK * sum(one.part not in covered for one in segments)
        requests += Requests(lists=bool(missing))  # leases of other programs
    if missing and not next_manifest.begun:
        # Creating the next manifest, which marks the epoch as begun, replaces one check for it.
        requests += Requests(puts=1) + Requests(gets=-1)
    stores_frames = LAYOUTS[next_manifest.settings.layout].stores_frames
    for segment in missing:
        checks = -(-segment.frame_count // FRAMES_BETWEEN_CHECKS) + 1 if stores_frames else 2
        requests += _LEASE + look_at_compacted + _EXISTENCE_CHECK + _ENSURE_CURRENT * checks
        requests += Requests(puts=1)  # index part
    is_divided = any(len(segment.chunk.segment_starts) > 1 for segment in missing)
    if is_divided and _count_index_files(next_manifest) > MAX_PROBED_PARTS:
        requests += _count_rolling_compactions(len(missing))
    index_files = _count_index_files(next_manifest)
    if index_files > max_index_files:
        requests += _LEASE + Requests(gets=index_files)
        if {segment.part for segment in segments} | set(committed) >= set(next_manifest.parts):
            requests += Requests(puts=2) + _EXISTENCE_CHECK  # compacted index and manifest
    return requests


def _count_rolling_compactions(commits: int) -> Requests:
    """Return the requests for compacting segments while others are extracted, without others."""
    checking = _LEASE + Requests(gets=2, lists=1)
    compacting = Requests(lists=1, gets=1 + COMMITS_BETWEEN_COMPACTIONS, puts=2) + _EXISTENCE_CHECK
    checks, compactions = commits // COMMITS_BETWEEN_CHECKS, commits // COMMITS_BETWEEN_COMPACTIONS
    return checking * checks + compacting * compactions


def count_write_requests(*, frame_puts: int) -> Requests:
    """Return the requests for storing a program's frames as a new timeline in one ``write``."""
    # This includes the check for frames stored by another program.
    describing = Requests(puts=1, lists=2)
    committing = _ENSURE_CURRENT + Requests(puts=1)
    describing_part = Requests(puts=1, lists=1, gets=1) + _EXISTENCE_CHECK
    return Requests(puts=frame_puts) + describing + _LEASE + committing + describing_part


def count_open_requests(snapshot: Snapshot) -> Requests:
    """Return the requests for finding a timeline's manifest and index."""
    manifest = snapshot.manifest
    if manifest is None:
        pages = max(1, -(-len(snapshot.index) // _LIST_PAGE_SIZE))
        return Requests(lists=2 + pages)
    requests = Requests(lists=1, gets=1 + _count_index_files(manifest))
    if len(set(manifest.parts) - _compacted_parts(manifest)) > MAX_PROBED_PARTS:
        requests += Requests(lists=1, gets=-len(snapshot.missing_parts))
    # Missing parts may mean that the timeline has been cleared, which has to be checked.
    return requests + _ENSURE_CURRENT if snapshot.missing_parts else requests


def count_access_log_requests(*, has_chunks: bool) -> Requests:
    """Return the requests for recording an access, which a process does once an hour."""
    return Requests(puts=1 if has_chunks else 0)


def _count_manifest_requests(current: Manifest | None, next_manifest: Manifest) -> Requests:
    if current is None:
        # This includes the check for frames stored by another program.
        return Requests(puts=1, lists=2)
    looking_up = Requests(lists=1, gets=1)
    return (
        looking_up if next_manifest is current else looking_up + Requests(puts=1) + _EXISTENCE_CHECK
    )


def _compacted_parts(manifest: Manifest) -> frozenset[str]:
    """Return the index parts whose rows the compacted index contains."""
    return frozenset(manifest.compaction.parts if manifest.compaction else ())


def _count_index_files(manifest: Manifest) -> int:
    covered = _compacted_parts(manifest)
    return len(set(manifest.parts) - covered) + bool(covered)
