"""What a verification finds, one by one and in numbers."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "ok",
    "missing",
    "truncated",
    "corrupt",
    "stale",
    "orphan",
    "undecodable",
    "source_changed",
    "source_gone",
]
"""What can be said of a frame, of another blob of the timeline, or of a chunk's video:

- ``ok``: a frame whose stored bytes are those committed (and, looked at deeply, its picture);
- ``missing``: the index names it, and it is not there;
- ``truncated``: it is shorter than what was committed;
- ``corrupt``: it is otherwise not what was committed, or not the picture of its chunk;
- ``stale``: it belongs to an older epoch;
- ``orphan``: nothing that counts names it;
- ``undecodable``: a frame without a picture, as the index says;
- ``source_changed``, ``source_gone``: the video is not the one described, or not there.
"""

DAMAGE: Final[tuple[Kind, ...]] = ("missing", "truncated", "corrupt")
"""The kinds by which something that was cached cannot be read; the others lose nothing."""

_FINDINGS_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not ``ok``."""

    kind: Kind
    key: str
    """Of the blob; of a chunk's video its URL."""
    sequence: int | None
    """Of the frame it is about; None when it is about none, or about many."""
    chunk_id: int | None
    detail: str
    """What was met, and what to do where a repair does not help."""
    repaired: bool = False
    """Whether this run put it right."""


FindingCallback = Callable[[Finding], None]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a verification found."""

    timeline_id: str
    counts: Mapping[Kind, int]
    """How many of each kind were met, repaired ones included."""
    frames_checked: int
    """Rows of the index that were compared, those without a picture included."""
    bytes_read: int
    """Bytes of JPEG that were fetched."""
    chunks_checked: int
    chunks_not_cached: int
    """Described chunks that are not cached yet, which is no damage."""
    repaired: int
    """Findings that this run put right."""
    seconds: float
    """Wall time of the call."""
    findings: tuple[Finding, ...]
    """The first 1,000."""

    @property
    def damaged(self) -> int:
        """What is missing, truncated or corrupt, and was not repaired."""
        return sum(self.counts[kind] for kind in DAMAGE) - self.repaired

    @property
    def ok(self) -> bool:
        """Whether nothing is missing, truncated or corrupt any more."""
        return self.damaged == 0


class Findings:
    """Adds up what is found, and passes it on; remembers the first 1,000, damage first."""

    def __init__(self, callback: FindingCallback | None) -> None:
        self._callback = callback
        self._began = time.monotonic()
        self._counts = Counter[Kind]()
        self._damage: list[Finding] = []
        self._others: list[Finding] = []
        self._repaired = 0
        self.frames_checked = 0
        self.bytes_read = 0
        self.chunks_checked = 0
        self.chunks_not_cached = 0

    def add(self, finding: Finding) -> None:
        """Take in something that is not ``ok``."""
        self._counts[finding.kind] += 1
        self._repaired += finding.repaired
        kept = self._damage if finding.kind in DAMAGE else self._others
        if len(kept) < _FINDINGS_KEPT:
            kept.append(finding)
        if self._callback is not None:
            self._callback(finding)

    def add_ok(self, frames: int) -> None:
        """Take in frames that are as they should be."""
        self._counts["ok"] += frames

    def report(self, timeline_id: str) -> VerifyReport:
        """All of it in numbers."""
        return VerifyReport(
            timeline_id=timeline_id,
            counts={kind: self._counts[kind] for kind in _KINDS},
            frames_checked=self.frames_checked,
            bytes_read=self.bytes_read,
            chunks_checked=self.chunks_checked,
            chunks_not_cached=self.chunks_not_cached,
            repaired=self._repaired,
            seconds=time.monotonic() - self._began,
            findings=(*self._damage, *self._others)[:_FINDINGS_KEPT],
        )


_KINDS: Final[tuple[Kind, ...]] = (
    "ok",
    *DAMAGE,
    "stale",
    "orphan",
    "undecodable",
    "source_changed",
    "source_gone",
)
