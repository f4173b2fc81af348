"""Timelines that were asked for lately, so that a frame takes one request of the store."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import google_crc32c

from framecache import keys
from framecache.cache import FrameCache
from framecache.errors import Cleared, FrameCacheError, NotCached, StoreDenied, StoreUnavailable
from framecache.http.gates import Gate, Gates
from framecache.http.settings import Limits
from framecache.index import Index, Snapshot
from framecache.instants import Instant
from framecache.reader import FrameSource, position_on_screen
from framecache.sprites import Sprites

_CONCURRENT_LOOK_UPS: Final = 16
_WAITING_FOR_A_LOOK: Final = 15
"""Requests for a timeline of which nothing is known yet: a page makes several at once."""
_DERIVED: Final = 8

Result = TypeVar("Result")


class KnownTimeline:
    """One timeline, as it was when it was last looked at. Safe to share between threads."""

    def __init__(self, cache: FrameCache, timeline_id: str, limits: Limits, gates: Gates) -> None:
        """Know nothing yet.

        Args:
            cache: where it lies.
            timeline_id: which it is.
            limits: how long it is not looked at again.
            gates: which this timeline's requests pass with those of all others.
        """
        self.timeline = cache.timeline(timeline_id)
        self._opened = self.timeline.opened
        self._limits = limits
        self._gates = gates
        self._looking = Gate("This timeline", at_once=1, waiting=_WAITING_FOR_A_LOOK)
        self._lock = threading.Lock()
        """Never held over a request of the store."""
        self._source: FrameSource | None = None
        self._until = 0.0
        self._looked_at = -math.inf
        """When the look began whose source is held."""
        self._times_forgotten = 0
        self._derived: OrderedDict[tuple[str, str], object] = OrderedDict()

    @property
    def row_count(self) -> int:
        """Rows of the index that is held."""
        held = self._source
        return len(held.snapshot.index) if held is not None else 0

    def fresh(self) -> FrameSource | None:
        """What is known of it, unless that is too old; makes no request."""
        with self._lock:
            return self._source if time.monotonic() < self._until else None

    def source(self) -> FrameSource:
        """The timeline as it was at most a moment ago, or before the look that goes on.

        Raises:
            Refusal: too many wait for the first look at it, or look at others.
        """
        if (fresh := self.fresh()) is not None:
            return fresh
        held = self._source
        if held is None:
            with self._gates.looks.entered(), self._looking.entered():
                return self.fresh() or self.look()
        with (
            self._gates.looks.entered_if_free() as may_look,
            self._looking.entered_if_free() as is_free,
        ):
            return (self.fresh() or self.look()) if may_look and is_free else held

    def look_again(self) -> None:
        """Hold the timeline as it is now, or as it was after this was called.

        Raises:
            Refusal: too many wait for a look at it, or look at others.
        """
        called_at = time.monotonic()
        gates = self._gates
        with gates.refreshes.entered(), gates.looks.entered(), self._looking.entered():
            if self._looked_at < called_at:
                self.look()

    def look(self) -> FrameSource:
        """The timeline as it is now, which is held from now on."""
        with self._lock:
            times_forgotten = self._times_forgotten
        began = time.monotonic()
        source = self._opened.latest_source()
        now = time.monotonic()
        with self._lock:
            # Whoever has it forgotten knows of a change that this look may have missed, and
            # a look that began later has seen more.
            if times_forgotten == self._times_forgotten and began >= self._looked_at:
                self._source = source
                self._looked_at = began
                self._until = now + max(
                    self._limits.known_for_seconds, self._limits.known_for_looks * (now - began)
                )
        return source

    def existing_source(self) -> FrameSource:
        """The same, of a timeline that there is.

        Raises:
            NotCached: nothing of it is described or cached.
        """
        source = self.source()
        if source.snapshot.description is None and not source.snapshot.exists:
            raise NotCached(f"there is no timeline {self.timeline.timeline_id}")
        return source

    def snapshot(self) -> Snapshot:
        """What it was at most a moment ago. Raises what :meth:`existing_source` raises."""
        return self.existing_source().snapshot

    def forget(self) -> None:
        """Look at the store next time."""
        self._opened.forget()
        with self._lock:
            self._source = None
            self._times_forgotten += 1

    def sprites(self, source: FrameSource) -> Sprites:
        """The sheets of what one source reads; makes no request."""
        return Sprites(
            source,
            self.timeline.timeline_id,
            self._opened.reading,
            making=self._gates.sheets.entered,
            decoding=self._gates.decodes.place,
        )

    def read(self, work: Callable[[FrameSource], Result]) -> Result:
        """What ``work`` makes of the timeline, once more if it was cleared meanwhile.

        The second time it may be another one: all that is taken of it is to be taken of the source.

        Raises:
            NotCached: nothing of it is described or cached.
        """
        source = self.existing_source()
        try:
            with self._opened.reading(source):
                return work(source)
        except Cleared:
            self.forget()
        latest = self.existing_source()
        with self._opened.reading(latest):
            return work(latest)

    def derived(self, name: str, make: Callable[[Snapshot], Result]) -> Result:
        """What ``make`` makes of the snapshot; kept while the timeline stays as it is."""
        snapshot = self.snapshot()
        place = (name, version_of(snapshot))
        with self._lock:
            if place in self._derived:
                self._derived.move_to_end(place)
                return self._derived[place]  # type: ignore[return-value]
        made = make(snapshot)
        with self._lock:
            self._derived[place] = made
            while len(self._derived) > _DERIVED:
                self._derived.popitem(last=False)
        return made


class KnownTimelines:
    """The timelines asked for most lately, bounded by their number and by their rows."""

    def __init__(self, cache: FrameCache, limits: Limits, gates: Gates) -> None:
        self._cache = cache
        self._limits = limits
        self._gates = gates
        self._lock = threading.Lock()
        self._known: OrderedDict[str, KnownTimeline] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, timeline_id: str) -> KnownTimeline:
        """A timeline, whether there is one or not.

        Raises:
            InvalidId: an id that cannot be part of a key.
        """
        keys.check_id(timeline_id, what="timeline_id")
        with self._lock:
            one = self._known.get(timeline_id)
            if one is None:
                one = self._known[timeline_id] = self._unknown(timeline_id)
            self._known.move_to_end(timeline_id)
            self._forget_some()
            return one

    def forget(self, timeline_id: str) -> None:
        """Look a timeline up next time."""
        with self._lock:
            one = self._known.get(timeline_id)
        if one is not None:
            one.forget()

    def summed_up(
        self, timeline_ids: list[str], sum_up: Callable[[str, Snapshot], Result]
    ) -> list[Result | FrameCacheError]:
        """What ``sum_up`` makes of several timelines, or the error; few are held at a time.

        Raises:
            Refusal: too many look at timelines.
            StoreDenied, StoreUnavailable: the store's.
        """

        def look(timeline_id: str) -> Result | FrameCacheError:
            with self._lock:
                one = self._known.get(timeline_id)
            try:
                source = one.fresh() if one is not None else None
                source = source or (one or self._unknown(timeline_id)).look()
                return sum_up(timeline_id, source.snapshot)
            except (StoreDenied, StoreUnavailable):
                raise
            except FrameCacheError as error:
                return error

        if not timeline_ids:
            return []
        pool = ThreadPoolExecutor(min(_CONCURRENT_LOOK_UPS, len(timeline_ids)))
        with self._gates.looks.entered():
            try:
                return list(pool.map(look, timeline_ids))
            finally:
                pool.shutdown(cancel_futures=True)

    def _unknown(self, timeline_id: str) -> KnownTimeline:
        return KnownTimeline(self._cache, timeline_id, self._limits, self._gates)

    def _forget_some(self) -> None:
        while len(self._known) > 1 and (
            len(self._known) > self._limits.timelines_known
            or sum(one.row_count for one in self._known.values()) > self._limits.frames_known
        ):
            self._known.popitem(last=False)


def version_of(snapshot: Snapshot) -> str:
    """Names a snapshot: another one has another name, whatever program changed the timeline."""
    description = snapshot.description
    if description is None:
        index = snapshot.index
        content = google_crc32c.value(index.sequence.tobytes() + index.size.tobytes())
        return f"listed-{content:08x}"
    missing = google_crc32c.value("\n".join(sorted(snapshot.missing_parts)).encode())
    return f"{description.epoch}-{description.version}-{missing:08x}"


def on_screen(snapshot: Snapshot, moment: Instant) -> int:
    """The row on screen at a time.

    Raises:
        NotCached: there is none.
    """
    position = position_on_screen(snapshot, moment)
    if position is None:
        raise NotCached(f"no cached frame is shown at {float(moment.seconds)} s")
    return position


def position_of(index: Index, sequence: int) -> int:
    """The row of a sequence.

    Raises:
        NotCached: there is none.
    """
    position = index.position(sequence)
    if position is None:
        raise NotCached(f"there is no frame {sequence}")
    return position
