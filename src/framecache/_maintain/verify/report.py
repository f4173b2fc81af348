"""Findings of a verification, individually and as counts."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

FindingKind = Literal[
    "ok",
    "missing",
    "truncated",
    "corrupt",
    "stale",
    "orphan",
    "undecodable",
    "source_changed",
    "source_missing",
]
"""Kind of a finding about a frame, another blob of the timeline, or a chunk's video:

- ``ok``: a frame whose stored bytes (with a deep check, also its picture) are those committed;
- ``missing``: the index names it, and it is not there;
- ``truncated``: it is shorter than what was committed;
- ``corrupt``: it otherwise differs from what was committed, or from the picture of its chunk;
- ``stale``: it belongs to an older epoch;
- ``orphan``: nothing references it;
- ``undecodable``: a frame without a picture, as the index says;
- ``source_changed``: the video differs from that of the manifest;
- ``source_missing``: the video is missing.
"""

DAMAGE_KINDS: Final[tuple[FindingKind, ...]] = ("missing", "truncated", "corrupt")
"""Kinds for which cached data cannot be read; the other kinds lose nothing."""

_MAX_FINDINGS: Final = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One result that is not ``ok``."""

    kind: FindingKind
    key: str
    """Key of the blob; for a chunk's video, its URL."""
    sequence: int | None
    """Sequence of the frame or of a rendition's frame; None if it is about no frame, or many."""
    chunk_id: int | None
    detail: str
    """Description of the finding, and the remedy if a repair does not help."""
    repaired: bool = False
    """True if this run repaired it."""


FindingCallback = Callable[[Finding], None]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Summary of a verification."""

    timeline_id: str
    counts: Mapping[FindingKind, int]
    """Number of findings of each kind, repaired ones included."""
    frames_checked: int
    """Number of index rows that were compared, those without a picture included."""
    renditions_checked: int
    """Number of renditions that were compared."""
    bytes_read: int
    """Bytes of JPEG that were fetched."""
    chunks_checked: int
    chunks_not_cached: int
    """Chunks of the manifest that are not cached yet, which is not damage."""
    repaired: int
    """Number of findings that this run repaired."""
    seconds: float
    """Wall time of the call, in seconds."""
    findings: tuple[Finding, ...]
    """The first 1,000 findings, damage first."""

    @property
    def damaged(self) -> int:
        """Number of missing, truncated or corrupt items that were not repaired."""
        return sum(self.counts[kind] for kind in DAMAGE_KINDS) - self.repaired

    @property
    def ok(self) -> bool:
        """True if nothing is missing, truncated or corrupt any more."""
        return self.damaged == 0


class FindingCollector:
    """Collector that counts findings, passes them on, and keeps the first 1,000, damage first."""

    def __init__(self, callback: FindingCallback | None) -> None:
        self._callback = callback
        self._began = time.monotonic()
        self._counts = Counter[FindingKind]()
        self._damage: list[Finding] = []
        self._others: list[Finding] = []
        self._repaired = 0
        self.frames_checked = 0
        self.renditions_checked = 0
        self.bytes_read = 0
        self.chunks_checked = 0
        self.chunks_not_cached = 0

    def add(self, finding: Finding) -> None:
        """Add something that is not ``ok``."""
        self._counts[finding.kind] += 1
        self._repaired += finding.repaired
        kept = self._damage if finding.kind in DAMAGE_KINDS else self._others
        if len(kept) < _MAX_FINDINGS:
            kept.append(finding)
        if self._callback is not None:
            self._callback(finding)

    def add_ok(self, frames: int) -> None:
        """Add frames that are intact."""
        self._counts["ok"] += frames

    def report(self, timeline_id: str) -> VerifyReport:
        """Return the summary."""
        return VerifyReport(
            timeline_id=timeline_id,
            counts={kind: self._counts[kind] for kind in _KINDS},
            frames_checked=self.frames_checked,
            renditions_checked=self.renditions_checked,
            bytes_read=self.bytes_read,
            chunks_checked=self.chunks_checked,
            chunks_not_cached=self.chunks_not_cached,
            repaired=self._repaired,
            seconds=time.monotonic() - self._began,
            findings=(*self._damage, *self._others)[:_MAX_FINDINGS],
        )


_KINDS: Final[tuple[FindingKind, ...]] = (
    "ok",
    *DAMAGE_KINDS,
    "stale",
    "orphan",
    "undecodable",
    "source_changed",
    "source_missing",
)
