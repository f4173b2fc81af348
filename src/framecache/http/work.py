"""What each kind of task does."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from framecache import ingest, keys, sweep
from framecache.cache import FrameCache
from framecache.errors import CorruptFrame
from framecache.http.chunks import AllowedChunks
from framecache.http.known import KnownTimelines
from framecache.http.orders import Order
from framecache.http.problems import Refusal
from framecache.http.tasks import Result
from framecache.index import current_description, find_lost
from framecache.manifest import Description, Settings
from framecache.model import Chunk, ExtractReport, ProgressCallback
from framecache.store import Store
from framecache.sweep import Removal
from framecache.timeline import Timeline


class Work:
    """Carries orders out on one cache."""

    def __init__(self, cache: FrameCache, known: KnownTimelines, chunks: AllowedChunks) -> None:
        self._cache = cache
        self._known = known
        self._chunks = chunks

    def __call__(self, order: Order, progress: ProgressCallback, *, is_resumed: bool) -> Result:
        """See `CarryOut`."""
        timeline = self._cache.timeline(order.timeline_id)
        try:
            match order.kind:
                case "extract":
                    return self._extract(timeline, order.arguments, progress)
                case "rebuild":
                    return self._rebuild(timeline, order.arguments, progress, is_resumed=is_resumed)
                case "verify":
                    return self._verify(timeline, order.arguments, progress)
                case "clear":
                    return _removed(self._clear(timeline, order.arguments["epoch"]))
                case "delete":
                    return _removed(self._delete(timeline, order.arguments["epoch"]))
        finally:
            self._known.forget(order.timeline_id)

    def _extract(
        self, timeline: Timeline, arguments: Mapping[str, Any], progress: ProgressCallback
    ) -> Result:
        settings = dict(arguments)
        append = settings.pop("append")
        # Once more: what a link leads to may be another by now.
        urls = [self._chunks.url(timeline.timeline_id, one) for one in settings.pop("chunks")]
        if append:
            return _extracted(timeline.append(urls, progress=progress))
        return _extracted(timeline.extract(urls, progress=progress, **settings))

    def _rebuild(
        self,
        timeline: Timeline,
        arguments: Mapping[str, Any],
        progress: ProgressCallback,
        *,
        is_resumed: bool,
    ) -> Result:
        settings = dict(arguments)
        epoch = settings.pop("epoch")
        info = timeline.info()
        self._chunks.check(timeline.timeline_id, [chunk.url for chunk in info.chunks])
        if is_resumed and info.epoch != epoch:
            # It was begun: what it extracted stays.
            described = [Chunk(chunk.url, chunk.given_start) for chunk in info.chunks]
            report = ingest.extract(
                self._cache.store,
                timeline.timeline_id,
                described,
                choose=_as_cached,
                workers=1,
                progress=progress,
            )
            return _extracted(report)
        return _extracted(timeline.rebuild(progress=progress, **settings))

    def _verify(
        self, timeline: Timeline, arguments: Mapping[str, Any], progress: ProgressCallback
    ) -> Result:
        urls = described_urls(self._cache.store, timeline.timeline_id)
        self._chunks.check(timeline.timeline_id, urls)
        report = timeline.verify(**arguments, progress=progress)
        counted: Result = {str(kind): number for kind, number in report.counts.items()}
        return counted | {
            "is_ok": report.ok,
            "damaged": report.damaged,
            "repaired": report.repaired,
            "frames_checked": report.frames_checked,
            "chunks_not_cached": report.chunks_not_cached,
            "bytes_read": report.bytes_read,
            "seconds": report.seconds,
        }

    def _clear(self, timeline: Timeline, epoch: str | None) -> Removal:
        store = self._cache.store
        current = current_description(store, timeline.timeline_id)
        if (current and current.epoch) == epoch:
            return timeline.clear()
        if current is None:
            return Removal(0, 0)  # deleted since
        _ensure_follows(store, current, epoch)
        return sweep.finish_clear(store, current)

    def _delete(self, timeline: Timeline, epoch: str | None) -> Removal:
        store = self._cache.store
        try:
            current = current_description(store, timeline.timeline_id)
        except CorruptFrame:
            if epoch is not None:
                raise
            current = None  # what is damaged can be deleted, too
        if current is None and epoch is not None:
            return Removal(0, 0)  # deleted since
        if current is not None and current.epoch != epoch:
            _ensure_follows(store, current, epoch)
        return timeline.delete()


def described_urls(store: Store, timeline_id: str) -> list[str]:
    """The chunks that a verification asks about, be the description that counts damaged or not."""
    try:
        description = current_description(store, timeline_id)
    except CorruptFrame:
        lost = find_lost(store, timeline_id)
        description = lost.before if lost else current_description(store, timeline_id)
    return [chunk.url for chunk in description.chunks] if description else []


def _as_cached(cached: Settings | None) -> Settings:
    return cached or Settings()


def _ensure_follows(store: Store, current: Description, epoch: str | None) -> None:
    """Take nothing away that came after the order, which may be hours old.

    An empty epoch after the one that was meant is what a clear or delete that died leaves.

    Raises:
        Refusal: the current epoch is another's.
    """
    is_later = epoch is not None and keys.is_earlier_epoch(epoch, than=current.epoch)
    if not is_later or not sweep.is_unfilled(store, current):
        raise Refusal(
            409,
            "changed",
            "The timeline has changed since this was asked for: ask again if it is still wanted.",
        )


def _extracted(report: ExtractReport) -> Result:
    document = asdict(report)
    del document["timeline_id"], document["timing"]
    for name in ("times_replaced", "clock_restarts", "packets_not_displayed"):
        document[name] = sum(getattr(chunk, name) for chunk in report.timing)
    return document


def _removed(removal: Removal) -> Result:
    return {"blobs_removed": removal.blobs, "size_bytes": removal.size_bytes}
