"""Execution of background tasks, by kind."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from framecache import _ingest as ingest
from framecache._core import keys
from framecache._core.manifest import Manifest, Settings
from framecache._index import current_manifest, find_corrupt_manifest
from framecache._ingest import deletion
from framecache._ingest.deletion import DeletionSummary
from framecache.cache import FrameCache
from framecache.errors import CorruptFrame
from framecache.model import Chunk, ExtractReport, ProgressCallback
from framecache.server.chunk_allowlist import ChunkAllowlist
from framecache.server.problem_details import ProblemError
from framecache.server.task_spec import TaskSpec
from framecache.server.tasks import TaskResult
from framecache.server.timeline_cache import TimelineCache
from framecache.store import Store
from framecache.timeline import Timeline


class CacheTaskRunner:
    """Executor of orders on one cache."""

    def __init__(self, cache: FrameCache, timelines: TimelineCache, chunks: ChunkAllowlist) -> None:
        self._cache = cache
        self._timelines = timelines
        self._chunks = chunks

    def __call__(
        self, spec: TaskSpec, progress: ProgressCallback, *, is_resumed: bool
    ) -> TaskResult:
        """See `TaskRunner`."""
        timeline = self._cache.timeline(spec.timeline_id)
        try:
            match spec.kind:
                case "extract":
                    return self._extract(timeline, spec.arguments, progress)
                case "rebuild":
                    return self._rebuild(timeline, spec.arguments, progress, is_resumed=is_resumed)
                case "verify":
                    return self._verify(timeline, spec.arguments, progress)
                case "clear":
                    return _deletion_result(self._clear(timeline, spec.arguments["epoch"]))
                case "delete":
                    return _deletion_result(self._delete(timeline, spec.arguments["epoch"]))
        finally:
            self._timelines.invalidate(spec.timeline_id)

    def _extract(
        self, timeline: Timeline, arguments: Mapping[str, Any], progress: ProgressCallback
    ) -> TaskResult:
        settings = dict(arguments)
        append = settings.pop("append")
        # Checked again, because the target of a link may have changed since the task was added.
        chunks = [
            self._chunks.resolve_chunk(timeline.timeline_id, one) for one in settings.pop("chunks")
        ]
        if append:
            return _extract_result(timeline.append(chunks, progress=progress))
        return _extract_result(timeline.extract(chunks, progress=progress, **settings))

    def _rebuild(
        self,
        timeline: Timeline,
        arguments: Mapping[str, Any],
        progress: ProgressCallback,
        *,
        is_resumed: bool,
    ) -> TaskResult:
        settings = dict(arguments)
        epoch = settings.pop("epoch")
        info = timeline.info()
        self._chunks.check(timeline.timeline_id, [chunk.url for chunk in info.chunks])
        if is_resumed and info.epoch != epoch:
            # The rebuild had begun; keep the chunks that it extracted.
            described = [
                Chunk(chunk.url, chunk.given_start, chunk.trim_start, chunk.trim_stop)
                for chunk in info.chunks
            ]
            report = ingest.extract(
                self._cache.store,
                timeline.timeline_id,
                described,
                resolve_settings=_settings_or_default,
                workers=1,
                progress=progress,
            )
            return _extract_result(report)
        return _extract_result(timeline.rebuild(progress=progress, **settings))

    def _verify(
        self, timeline: Timeline, arguments: Mapping[str, Any], progress: ProgressCallback
    ) -> TaskResult:
        urls = manifest_chunk_urls(self._cache.store, timeline.timeline_id)
        self._chunks.check(timeline.timeline_id, urls)
        report = timeline.verify(**arguments, progress=progress)
        counted: TaskResult = {str(kind): number for kind, number in report.counts.items()}
        return counted | {
            "is_ok": report.ok,
            "damaged": report.damaged,
            "repaired": report.repaired,
            "frames_checked": report.frames_checked,
            "chunks_not_cached": report.chunks_not_cached,
            "bytes_read": report.bytes_read,
            "seconds": report.seconds,
        }

    def _clear(self, timeline: Timeline, epoch: str | None) -> DeletionSummary:
        store = self._cache.store
        current = current_manifest(store, timeline.timeline_id)
        if (current and current.epoch) == epoch:
            return timeline.clear()
        if current is None:
            return DeletionSummary(0, 0)  # deleted meanwhile
        _ensure_not_superseded(store, current, epoch)
        return deletion.finish_clear(store, current)

    def _delete(self, timeline: Timeline, epoch: str | None) -> DeletionSummary:
        store = self._cache.store
        try:
            current = current_manifest(store, timeline.timeline_id)
        except CorruptFrame:
            if epoch is not None:
                raise
            current = None  # a timeline with a damaged manifest can be deleted, too
        if current is None and epoch is not None:
            return DeletionSummary(0, 0)  # deleted meanwhile
        if current is not None and current.epoch != epoch:
            _ensure_not_superseded(store, current, epoch)
        return timeline.delete()


def manifest_chunk_urls(store: Store, timeline_id: str) -> list[str]:
    """Return the URLs of the chunks that a verification reads, even if the manifest is damaged."""
    try:
        manifest = current_manifest(store, timeline_id)
    except CorruptFrame:
        lost = find_corrupt_manifest(store, timeline_id)
        manifest = lost.last_intact if lost else current_manifest(store, timeline_id)
    return [chunk.url for chunk in manifest.chunks] if manifest else []


def _settings_or_default(cached: Settings | None) -> Settings:
    return cached or Settings()


def _ensure_not_superseded(store: Store, current: Manifest, epoch: str | None) -> None:
    """Check that the current epoch holds nothing newer than the order, which may be hours old.

    An empty epoch after the intended one is left by a clear or delete that was interrupted.

    Raises:
        ProblemError: the current epoch is one that another program created.
    """
    is_later = epoch is not None and keys.is_earlier_epoch(epoch, than=current.epoch)
    if not is_later or not deletion.is_unfilled(store, current):
        raise ProblemError(
            409,
            "changed",
            "The timeline changed after this was requested: request it again if it is still "
            "wanted.",
        )


def _extract_result(report: ExtractReport) -> TaskResult:
    document = asdict(report)
    del document["timeline_id"], document["timing"]
    for name in ("times_replaced", "clock_restarts", "packets_not_displayed"):
        document[name] = sum(getattr(chunk, name) for chunk in report.timing)
    return document


def _deletion_result(removal: DeletionSummary) -> TaskResult:
    return {"blobs_removed": removal.blobs, "size_bytes": removal.size_bytes}
