"""Which decoded pictures can be believed, when others beside them are damaged. No I/O."""

import sys
from bisect import insort
from collections import deque
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from av.video.frame import VideoFrame

from framecache.video import limits
from framecache.video.pictures import Decoded, Undecodable

_NO_PICTURE: Final = "decoder: no picture came of it in its place"
_INCOMPLETE: Final = "damaged: parts of the picture are missing"
_BUILT_ON_DAMAGE: Final = "damaged: a picture that it is built on is damaged or missing"

_BAD_LOOKED_AT: Final = 4
_EVER: Final = -sys.maxsize
_NEVER: Final = sys.maxsize


class Ledger:
    """Holds pictures back until all that were decoded before them are known to be good.

    A decoder conceals what is missing from a damaged picture, says so only when it gives that
    picture out, and builds others on it without a word. It gives pictures out in the order of
    showing, which may be long after it has given out those built on them.

    Pictures are built on pictures decoded earlier, back to the last keyframe that is not shown
    after them; and never on leading pictures, those shown before a keyframe but decoded after
    it (H.264 and HEVC open groups), unless they lead the same keyframe.

    What is said of a picture depends on those decoded before it alone, so that it does not matter
    how far decoding goes on. Of two pictures that come in the wrong order, the one decoded last is
    out of place, and the other is awaited until it cannot come any more.
    """

    def __init__(self, displayed: AbstractSet[int], *, floor: int = _EVER) -> None:
        """``displayed``: PTS of frames that are shown; only those from ``floor`` on can come."""
        self._displayed = displayed
        self.floor = floor
        """The earliest PTS that can come."""
        self._order = 0
        self._reach = _EVER
        self._keys: deque[tuple[int, int]] = deque([(0, _EVER)], maxlen=16)
        self._awaited: dict[int, _Place] = {}
        self._awaited_in_order: list[int] = []
        self._late: dict[int, _Place] = {}
        """Awaited ones that another, decoded after them and shown after them, has overtaken."""
        self._held: deque[_Held] = deque()
        self._pictures = 0
        self._latest = _EVER
        self._bad: list[tuple[int, int]] = []
        self._reasons: dict[int, str] = {}
        self._all_good = True

    @property
    def is_clean(self) -> bool:
        """Whether nothing failed or was lost so far, and no picture waits in vain."""
        return self._all_good and all(self._is_settled(held.place) for held in self._excess())

    def sent(self, pts: int | None, *, key: bool, shown: bool = True) -> None:
        """Note a packet that goes to the decoder; ``shown``: whether a picture will come of it."""
        self._order += 1
        if pts is None:
            return
        if key:
            self._keys.append((self._order, pts))
        if shown:
            self._reach = max(self._reach, pts)
            since, since_pts = next((key for key in reversed(self._keys) if key[1] <= pts), _START)
            self._awaited[pts] = _Place(self._order, since, since_pts, self._reach)
            heappush(self._awaited_in_order, pts)

    def failed(self, pts: int | None, reason: str) -> None:
        """Note that the packet sent last is damaged."""
        self._note(self._order, _NEVER if pts is None else pts, reason)

    def came(self, pts: int, frame: VideoFrame) -> bool:
        """Take in a picture from the decoder, after which some others cannot come any more.

        Returns whether it was awaited.
        """
        place = self._awaited.pop(pts, None)
        if place is None and pts in self._late:
            place = self._late.pop(pts)
            for held in self._held:
                if held.pts > pts and held.place.order > place.order:
                    self._miss(held.place.order, held.pts)
        self._lose(before=pts, at=place or _Place(self._order, _EVER, _EVER, _EVER))
        self._latest = max(self._latest, pts)
        if place is not None:
            if frame.is_corrupt:
                self._note(place.order, pts, _INCOMPLETE)
            self._hold(_Held(pts, place, frame))
        return place is not None

    def finish(self) -> None:
        """Note that the decoder has given out all it had."""
        self._lose(before=_NEVER, at=_END)
        self._latest = _NEVER

    def settled(self) -> Iterator[Decoded | Undecodable]:
        """Give out the displayed frames about which nothing more can become known, in order.

        Where times are damaged, that may be none for long: then the oldest go for what they seem.
        """
        while self._held and (self._is_settled(self._held[0].place) or any(self._excess())):
            held = self._held.popleft()
            self._pictures -= held.frame is not None
            own = self._reasons.pop(held.pts, None)
            # What the decoder makes of a picture without those it is built on depends on what
            # else it has decoded.
            reason = self._inherited(held.place) or own
            if reason is not None or held.frame is None:
                yield Undecodable(held.pts, reason or _NO_PICTURE)
            else:
                yield Decoded(held.pts, held.frame)

    def _note(self, order: int, pts: int, reason: str) -> None:
        if not any(self._covers(bad, order, pts) for bad in self._bad[-_BAD_LOOKED_AT:]):
            self._bad.append((order, pts))
        self._reasons.setdefault(pts, reason)
        self._all_good = False

    def _covers(self, bad: tuple[int, int], order: int, pts: int) -> bool:
        """Whether every picture hurt by damage at ``order`` and ``pts`` is hurt by ``bad``, too.

        A video that is damaged all over would otherwise take quadratic time.
        """
        bad_order, bad_pts = bad
        return bad_order <= order and not any(
            bad_order < key_order <= order or bad_pts < key_pts <= pts
            for key_order, key_pts in self._keys
        )

    def _lose(self, *, before: int, at: "_Place") -> None:
        """Give up the awaited pictures that cannot come any more, now that one at a place did."""
        while self._awaited_in_order and self._awaited_in_order[0] < before:
            pts = heappop(self._awaited_in_order)
            place = self._awaited.pop(pts, None)
            if place is not None and pts >= self.floor and pts in self._displayed:
                self._late[pts] = place
        is_long_ago = self._pictures >= limits.MAX_HELD_PICTURES
        for pts, place in list(self._late.items()):
            is_first = at.order < place.order or at.is_key or pts in self._reasons
            if (pts < before and is_first) or is_long_ago:
                del self._late[pts]
                self._miss(place.order, pts)
                self._hold(_Held(pts, place, None))

    def _miss(self, order: int, pts: int) -> None:
        if self._reasons.get(pts) == _INCOMPLETE:
            del self._reasons[pts]
        self._note(order, pts, _NO_PICTURE)

    def _hold(self, held: "_Held") -> None:
        self._pictures += held.frame is not None
        if self._held and self._held[-1].pts > held.pts:
            insort(self._held, held, key=lambda one: one.pts)
        else:
            self._held.append(held)

    def _excess(self) -> Iterator["_Held"]:
        """The first of those held, as long as they and those behind are too many pictures."""
        pictures = self._pictures
        for held in self._held:
            if pictures <= limits.MAX_HELD_PICTURES:
                return
            yield held
            pictures -= held.frame is not None

    def _is_settled(self, place: "_Place") -> bool:
        awaited = min((late.order for late in self._late.values()), default=_NEVER)
        return place.reach <= self._latest and place.order < awaited

    def _inherited(self, place: "_Place") -> str | None:
        if not self._bad:
            return None
        # Frames are given out in order, so that no later one reaches back further.
        self._bad = [bad for bad in self._bad if bad[0] >= place.since]
        hurt = any(order < place.order and pts >= place.since_pts for order, pts in self._bad)
        return _BUILT_ON_DAMAGE if hurt else None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a picture stands in the order of decoding."""

    order: int
    since: int
    """The order of the keyframe that it is built on, at most."""
    since_pts: int
    reach: int
    """The last PTS among the pictures decoded up to it."""

    @property
    def is_key(self) -> bool:
        """Whether it is a keyframe."""
        return self.order == self.since


@dataclass(frozen=True, slots=True)
class _Held:
    pts: int
    place: _Place
    frame: VideoFrame | None


_START: Final = (0, _EVER)
_END: Final = _Place(_NEVER, _NEVER, _NEVER, _NEVER)
