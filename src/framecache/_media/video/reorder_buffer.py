"""Tracking of which decoded pictures damage affects. Does no I/O."""

import sys
from bisect import insort
from collections import deque
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from av.video.frame import VideoFrame

from framecache._media.video import limits
from framecache._media.video.decoded import Decoded, Undecodable

_NO_PICTURE: Final = "decoder: no picture came of it in its place"
_INCOMPLETE: Final = "damaged: parts of the picture are missing"
_DAMAGED_REFERENCE: Final = "damaged: a picture that it is built on is damaged or missing"

_RECENT_DAMAGE_COUNT: Final = 4
_MIN_PTS: Final = -sys.maxsize
_MAX_PTS: Final = sys.maxsize


class ReorderBuffer:
    """Record of the decoded pictures and of damage to them.

    It holds each picture until every picture that was decoded earlier is known to be good or bad.
    A decoder conceals the missing parts of a damaged picture. It reports the damage only when it
    outputs that picture, and not at all for the pictures that depend on it. It outputs pictures in
    display order, so a damaged picture may come out long after pictures that depend on it.

    A picture depends on pictures decoded earlier, back to the last keyframe that is not shown
    after it. It never depends on leading pictures, which are shown before a keyframe but decoded
    after it (open GOPs of H.264 and HEVC), unless it is a leading picture of the same keyframe.

    The verdict on a picture depends only on pictures decoded before it, so it does not matter
    how far decoding continues. If two pictures come in the wrong order, the one decoded last is
    considered misplaced, and the other is awaited until it can no longer come.
    """

    def __init__(self, displayed: AbstractSet[int], *, min_pts: int = _MIN_PTS) -> None:
        """Start with no packets; ``displayed`` holds the PTS of the frames that are shown.

        Only pictures with a PTS of at least ``min_pts`` are expected.
        """
        self._displayed = displayed
        self.min_pts = min_pts
        """Earliest PTS that can come."""
        self._packet_count = 0
        self._max_pts = _MIN_PTS
        self._keyframes: deque[tuple[int, int]] = deque([(0, _MIN_PTS)], maxlen=16)
        self._awaited: dict[int, _DecodePosition] = {}
        self._awaited_in_order: list[int] = []
        self._overdue: dict[int, _DecodePosition] = {}
        """Awaited pictures for which a picture with a later PTS has already come."""
        self._held: deque[_PendingPicture] = deque()
        self._picture_count = 0
        self._latest_pts = _MIN_PTS
        self._damage: list[tuple[int, int]] = []
        self._reasons: dict[int, str] = {}
        self._is_undamaged = True

    @property
    def is_clean(self) -> bool:
        """True if nothing has failed or been lost, and no picture is released undecided."""
        return self._is_undamaged and all(
            self._is_ready(held.position) for held in self._iter_excess()
        )

    def add_packet(self, pts: int | None, *, is_keyframe: bool, is_shown: bool = True) -> None:
        """Record a packet for the decoder; ``is_shown`` if a picture is expected from it."""
        self._packet_count += 1
        if pts is None:
            return
        if is_keyframe:
            self._keyframes.append((self._packet_count, pts))
        if is_shown:
            self._max_pts = max(self._max_pts, pts)
            since, since_pts = next(
                (key for key in reversed(self._keyframes) if key[1] <= pts), _START
            )
            self._awaited[pts] = _DecodePosition(
                self._packet_count, since, since_pts, self._max_pts
            )
            heappush(self._awaited_in_order, pts)

    def mark_damaged(self, pts: int | None, reason: str) -> None:
        """Record that the packet sent last is damaged."""
        self._record_damage(self._packet_count, _MAX_PTS if pts is None else pts, reason)

    def add_picture(self, pts: int, frame: VideoFrame) -> bool:
        """Add a picture from the decoder, and give up those that can no longer come after it.

        Returns True if the picture was awaited.
        """
        place = self._awaited.pop(pts, None)
        if place is None and pts in self._overdue:
            place = self._overdue.pop(pts)
            for held in self._held:
                if held.pts > pts and held.position.decode_order > place.decode_order:
                    self._record_missing(held.position.decode_order, held.pts)
        self._expire_awaited(
            before=pts,
            position=place or _DecodePosition(self._packet_count, _MIN_PTS, _MIN_PTS, _MIN_PTS),
        )
        self._latest_pts = max(self._latest_pts, pts)
        if place is not None:
            if frame.is_corrupt:
                self._record_damage(place.decode_order, pts, _INCOMPLETE)
            self._insert(_PendingPicture(pts, place, frame))
        return place is not None

    def flush(self) -> None:
        """Record that the decoder has output all its pictures."""
        self._expire_awaited(before=_MAX_PTS, position=_END)
        self._latest_pts = _MAX_PTS

    def pop_ready(self) -> Iterator[Decoded | Undecodable]:
        """Yield, in order, the displayed frames whose verdict is final.

        If times are damaged, no verdict may become final for long. Once too many pictures are
        held, the oldest are yielded with the verdict known so far.
        """
        while self._held and (self._is_ready(self._held[0].position) or any(self._iter_excess())):
            held = self._held.popleft()
            self._picture_count -= held.frame is not None
            own = self._reasons.pop(held.pts, None)
            # Inherited damage takes precedence: the decoder's own verdict on a picture without
            # its references depends on what else it has decoded.
            reason = self._inherited_damage(held.position) or own
            if reason is not None or held.frame is None:
                yield Undecodable(held.pts, reason or _NO_PICTURE)
            else:
                yield Decoded(held.pts, held.frame)

    def _record_damage(self, order: int, pts: int, reason: str) -> None:
        if not any(
            self._is_covered(bad, order, pts) for bad in self._damage[-_RECENT_DAMAGE_COUNT:]
        ):
            self._damage.append((order, pts))
        self._reasons.setdefault(pts, reason)
        self._is_undamaged = False

    def _is_covered(self, bad: tuple[int, int], order: int, pts: int) -> bool:
        """Return True if ``bad`` affects every picture that damage at ``order``, ``pts`` affects.

        Damage that is covered is not recorded; otherwise a video that is damaged throughout would
        take quadratic time.
        """
        bad_order, bad_pts = bad
        return bad_order <= order and not any(
            bad_order < key_order <= order or bad_pts < key_pts <= pts
            for key_order, key_pts in self._keyframes
        )

    def _expire_awaited(self, *, before: int, position: "_DecodePosition") -> None:
        """Give up awaited pictures that cannot come after the picture at ``position``."""
        while self._awaited_in_order and self._awaited_in_order[0] < before:
            pts = heappop(self._awaited_in_order)
            place = self._awaited.pop(pts, None)
            if place is not None and pts >= self.min_pts and pts in self._displayed:
                self._overdue[pts] = place
        is_long_ago = self._picture_count >= limits.MAX_HELD_PICTURES
        for pts, place in list(self._overdue.items()):
            is_first = (
                position.decode_order < place.decode_order
                or position.is_key
                or pts in self._reasons
            )
            if (pts < before and is_first) or is_long_ago:
                del self._overdue[pts]
                self._record_missing(place.decode_order, pts)
                self._insert(_PendingPicture(pts, place, None))

    def _record_missing(self, order: int, pts: int) -> None:
        if self._reasons.get(pts) == _INCOMPLETE:
            del self._reasons[pts]
        self._record_damage(order, pts, _NO_PICTURE)

    def _insert(self, held: "_PendingPicture") -> None:
        self._picture_count += held.frame is not None
        if self._held and self._held[-1].pts > held.pts:
            insort(self._held, held, key=lambda one: one.pts)
        else:
            self._held.append(held)

    def _iter_excess(self) -> Iterator["_PendingPicture"]:
        """Yield the oldest held items by which the number of held pictures exceeds the limit."""
        pictures = self._picture_count
        for held in self._held:
            if pictures <= limits.MAX_HELD_PICTURES:
                return
            yield held
            pictures -= held.frame is not None

    def _is_ready(self, position: "_DecodePosition") -> bool:
        awaited = min((late.decode_order for late in self._overdue.values()), default=_MAX_PTS)
        return position.max_pts <= self._latest_pts and position.decode_order < awaited

    def _inherited_damage(self, position: "_DecodePosition") -> str | None:
        if not self._damage:
            return None
        # Frames are yielded in order, so no later frame depends on older pictures than this one.
        self._damage = [bad for bad in self._damage if bad[0] >= position.dependency_order]
        hurt = any(
            order < position.decode_order and pts >= position.dependency_pts
            for order, pts in self._damage
        )
        return _DAMAGED_REFERENCE if hurt else None


@dataclass(frozen=True, slots=True)
class _DecodePosition:
    """Position of a picture in decoding order."""

    decode_order: int
    dependency_order: int
    """Order of the keyframe back to which the picture may depend on others."""
    dependency_pts: int
    max_pts: int
    """Latest PTS among the pictures decoded up to and including this one."""

    @property
    def is_key(self) -> bool:
        """True if the picture is a keyframe."""
        return self.decode_order == self.dependency_order


@dataclass(frozen=True, slots=True)
class _PendingPicture:
    pts: int
    position: _DecodePosition
    frame: VideoFrame | None


_START: Final = (0, _MIN_PTS)
_END: Final = _DecodePosition(_MAX_PTS, _MAX_PTS, _MAX_PTS, _MAX_PTS)
