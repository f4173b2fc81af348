"""Extraction of many timelines as Ray tasks: one to plan a timeline, then others for segments."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from framecache._core import keys
from framecache._core.numeric import format_value, require_int
from framecache._core.sampling import Rate
from framecache._ingest.extract_arguments import ChunkLike, as_chunks, settings_resolver
from framecache.cache import FrameCache
from framecache.errors import FrameCacheError, InvalidValue
from framecache.model import Aspect, Chroma, ExtractReport, Layout
from framecache.ray.cluster import connected
from framecache.ray.extraction_run import (
    ExtractionRun,
    ExtractProgress,
    TaskOptions,
    TimelineRun,
)
from framecache.ray.shared_store import require_shared
from framecache.store import normalized_url

_FAILURES_SHOWN: Final = 3


class ExtractionFailed(FrameCacheError):
    """Timelines that could not be extracted; the others are finished."""

    reports: dict[str, ExtractReport]
    """Reports of the timelines that are finished, by id."""
    failures: dict[str, FrameCacheError]
    """Errors of the other timelines, by id."""

    def __init__(
        self, reports: Mapping[str, ExtractReport], failures: Mapping[str, FrameCacheError]
    ) -> None:
        shown = [f"{name}: {error}" for name, error in failures.items()][:_FAILURES_SHOWN]
        more = len(failures) - len(shown)
        rest = f"; and {more:,} more, see failures" if more else ""
        super().__init__(
            f"{len(failures):,} of {len(failures) + len(reports):,} timelines could not be "
            f"extracted: {'; '.join(shown)}{rest}"
        )
        self.reports = dict(reports)
        self.failures = dict(failures)


def extract(
    timelines: Mapping[str, ChunkLike | Iterable[ChunkLike]],
    *,
    cache: FrameCache,
    fps: Rate | None = None,
    every: int | None = None,
    keyframes: bool = False,
    quality: int = 85,
    aspect: Aspect = "stored",
    max_side: int | None = None,
    chroma: Chroma = "420",
    renditions: Iterable[int] | None = None,
    layout: Layout | None = None,
    num_cpus: float = 1.0,
    memory_bytes: int | None = None,
    resources: Mapping[str, float] | None = None,
    max_retries: int = 3,
    max_tasks: int | None = None,
    progress: Callable[[ExtractProgress], None] | None = None,
    address: str | None = None,
) -> dict[str, ExtractReport]:
    """Cache the frames of many timelines on a Ray cluster; return the report of each, by id.

    A task plans each timeline, then tasks extract the segments that are not cached, a few each, so
    that all nodes share a long video. Tasks share them with other programs by leases, as
    :meth:`Timeline.extract` does. If a worker or a node dies, the segments that it was extracting
    are extracted again by others, once its leases are stale, after 20 s. Frames do not depend on
    the cluster. If a video contradicts its sample tables, its timeline is planned again from all
    packets, in a new epoch.

    Workers use their own environment variables for stores, but the storage options of ``cache``.

    Args:
        timelines: chunks of each timeline by its id, as :meth:`Timeline.extract` takes them. Local
            files must have the same path on all nodes.
        cache: cache in a store that all nodes reach.
        fps: see :meth:`Timeline.extract`; so are ``every`` to ``layout``.
        every: take every n-th frame.
        keyframes: take keyframes only.
        quality: JPEG quality, 1 to 100.
        aspect: ``"stored"`` or ``"square"``.
        max_side: maximum width and height of frames in pixels; None: frames keep their size.
        chroma: ``"420"`` or ``"444"``.
        renditions: sizes of smaller copies of each frame, largest first.
        layout: ``"objects"``, ``"packs"`` or ``"video"``.
        num_cpus: CPUs that Ray reserves for a task, above 0, and threads of the task, rounded up.
        memory_bytes: memory that Ray reserves for a task; None: none.
        resources: other resources that Ray reserves for a task, such as ``{"decoder": 1}``.
        max_retries: number of times that a task is tried again if its worker dies or its store is
            unavailable.
        max_tasks: tasks that are submitted at a time. None: twice as many as the cluster can run.
        progress: called when a timeline was planned and when a task is done.
        address: address of the cluster, ``host:port``, ``"auto"`` for the one of this machine,
            or ``"local"`` for one that is started for this call. None: the one that the program is
            connected to, else ``$RAY_ADDRESS``, else as ``"local"``.

    Raises:
        InvalidValue: an argument is out of its range, or the cache is in memory.
        ClusterUnavailable: no cluster answers at the address.
        ExtractionFailed: some timelines could not be extracted; all others are finished. Its
            ``failures`` are errors of :meth:`Timeline.extract`, and ClusterUnavailable if the
            workers of a task died too often.
    """
    resolve_settings = settings_resolver(
        fps=fps,
        every=every,
        keyframes=keyframes,
        quality=quality,
        aspect=aspect,
        max_side=max_side,
        chroma=chroma,
        renditions=renditions,
        layout=layout,
    )
    store = require_shared(cache)
    options = TaskOptions.of(num_cpus, memory_bytes, resources, max_retries)
    if max_tasks is not None:
        max_tasks = require_int(max_tasks, what="max_tasks", minimum=1)
    wanted = _parse_timelines(timelines)
    with connected(address):
        ExtractionRun(store, wanted, resolve_settings, options, max_tasks, progress).execute()
    failures = {one.timeline_id: one.failure for one in wanted if one.failure is not None}
    reports = {one.timeline_id: one.report() for one in wanted if one.failure is None}
    if failures:
        raise ExtractionFailed(reports, failures)
    return reports


def _parse_timelines(timelines: object) -> list[TimelineRun]:
    """Return the timelines with chunks that a worker finds: its working folder is another one.

    Raises:
        InvalidId: an id is invalid.
        InvalidValue: ``timelines`` is not a mapping with chunks.
    """
    if not isinstance(timelines, Mapping) or not timelines:
        raise InvalidValue(
            'timelines must be chunks by timeline, such as {"match-42": ["c0.mp4"]}, not '
            f"{format_value(timelines)}"
        )
    return [
        TimelineRun(
            keys.check_id(name, what="timeline_id"),
            [
                replace(chunk, url=normalized_url(chunk.url))
                for chunk in as_chunks(chunks, timeline_id=name)
            ],
        )
        for name, chunks in timelines.items()
    ]
