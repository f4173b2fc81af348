"""Datasets of frames."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import ray.data

from framecache._core.times import Seconds
from framecache._read import DecodeOptions, as_sequences
from framecache._read.selection import Selection, parse_selection
from framecache.cache import FrameCache
from framecache.errors import InvalidValue, NotCached
from framecache.model import Color
from framecache.ray.columns import DEFAULT_COLUMNS, require_columns
from framecache.ray.frame_source import FrameDatasource, OpenedTimeline
from framecache.ray.read_tasks import Positions, ReadFormat
from framecache.ray.shared_store import require_shared
from framecache.timeline import Timeline

if TYPE_CHECKING:
    from ray.data import Dataset

_CONCURRENT_OPENINGS: Final = 16


def read_frames(
    timelines: str | Iterable[str] | Mapping[str, Iterable[int]],
    *,
    cache: FrameCache,
    columns: Iterable[str] = DEFAULT_COLUMNS,
    start: int | None = None,
    stop: int | None = None,
    step: int = 1,
    start_seconds: Seconds | None = None,
    stop_seconds: Seconds | None = None,
    tolerance_seconds: Seconds | None = None,
    scale: float = 1.0,
    max_side: int | None = None,
    color: Color = "rgb",
    **ray_options: Any,  # noqa: ANN401 -- Ray's
) -> "Dataset":
    """Return frames of timelines as a dataset of Ray Data, one row a frame.

    The timelines are opened at once, with three requests each; frames are fetched when the dataset
    is consumed. Each request of a worker fetches as many neighboring frames of a pack as
    :meth:`Timeline.frames` does. Columns that the dataset drops, and rows that it filters by
    conditions on columns of the index, are not fetched. Frames without a picture are left out, also
    those of layout ``video`` that prove to have none. In that layout, unless pictures are read,
    ``perceptual_hash`` is empty, and the size is that at the beginning of the video. Workers decode
    the chunks, each task from one place where decoding can begin to another.

    The columns are:

    - ``timeline_id``: string
    - ``sequence``, ``chunk_id``, ``width``, ``height``: int64; the size is that of the stored frame
    - ``timestamp``, ``duration``: float64, in seconds
    - ``perceptual_hash``: string
    - ``jpeg``: the stored bytes
    - ``image``: uint8 tensor ``(height, width, 3)``, or ``(height, width)`` for gray

    Ray Data returns blocks as they are finished, unless the execution option ``preserve_order`` is
    set.

    Args:
        timelines: id of a timeline, or ids of several; or sequences to read by id, in any order.
        cache: cache in a store that all nodes reach.
        columns: names of the columns to read.
        start: first sequence on each timeline: see :meth:`Timeline.frames`.
        stop: one past the last sequence.
        step: take sequences ``start, start + step, …``.
        start_seconds: instead of ``start``: frames that begin at or after this time.
        stop_seconds: instead of ``stop``: frames that begin before this time.
        tolerance_seconds: largest rounding error of these times: see :meth:`Timeline.frame_at`.
        scale: 1, 0.5, 0.25 or 0.125 of the size; the JPEG decoder scales.
        max_side: instead of ``scale``: largest width and height: see :meth:`Timeline.frame`.
        color: ``"rgb"``, ``"bgr"`` or ``"gray"``.
        **ray_options: options of ``ray.data.read_datasource``, such as ``concurrency`` and
            ``num_cpus``.

    Raises:
        InvalidValue: an argument is out of its range, the cache is in memory, or no frame is in the
            range.
        NotCached: a timeline has no cached frame, or not one of the given sequences.
        UndecodableFrame: one of the given sequences has no picture.

    Consuming the dataset raises TimelineCleared if a timeline was cleared or rebuilt since, and the
    other errors of :meth:`Timeline.frames`.
    """
    output = ReadFormat(require_columns(columns), DecodeOptions(color, scale, max_side))
    selection = parse_selection(
        start,
        stop,
        step,
        start_seconds=start_seconds,
        stop_seconds=stop_seconds,
        tolerance_seconds=tolerance_seconds,
    )
    given = (start, stop, start_seconds, stop_seconds)
    has_range = step != 1 or any(end is not None for end in given)
    wanted = _parse_timelines(timelines, has_range=has_range)
    require_shared(cache)

    def open_one(item: tuple[str, Iterable[int] | None]) -> OpenedTimeline:
        name, sequences = item
        return _open(cache.timeline(name), selection, sequences)

    with ThreadPoolExecutor(
        min(_CONCURRENT_OPENINGS, len(wanted)), thread_name_prefix="framecache-open"
    ) as pool:
        opened = [*pool.map(open_one, wanted.items())]
    if not any(len(one.positions) for one in opened):
        raise InvalidValue(
            f"the dataset has no frames: {opened[0].timeline!r} has frames, but none of them is in "
            "the range; give a wider one"
        )
    source = FrameDatasource(opened, output)
    # By default, Ray Data would split the blocks of each task further, which costs more than it
    # gains.
    options = {"override_num_blocks": len(source.tasks())} | ray_options
    return ray.data.read_datasource(source, **options)


def _parse_timelines(timelines: object, *, has_range: bool) -> dict[str, Iterable[int] | None]:
    """Return the ids of timelines, and the sequences to read; None: those of the range."""
    if isinstance(timelines, Mapping):
        if has_range:
            raise InvalidValue("give sequences of each timeline, or a range, not both")
        chosen: dict[str, Iterable[int] | None] = dict(timelines)
    elif isinstance(timelines, str):
        chosen = {timelines: None}
    elif isinstance(timelines, Iterable):
        chosen = dict.fromkeys(timelines)
    else:
        chosen = {}
    if not chosen:
        raise InvalidValue("a dataset needs the id of at least one timeline: none was given")
    return chosen


def _open(
    timeline: Timeline, selection: Selection, sequences: Iterable[int] | None
) -> OpenedTimeline:
    snapshots = timeline.snapshot_cache
    if sequences is not None:
        source, positions = snapshots.find_positions(as_sequences(sequences))
    else:
        source = snapshots.latest_source()
        positions = _selected(timeline, selection, source)
    with snapshots.track_read(source):  # workers do not record it again
        return OpenedTimeline(timeline, source.snapshot, positions)


def _selected(timeline: Timeline, selection: Selection, source: Any) -> Positions:  # noqa: ANN401
    if not source.snapshot.exists:
        raise NotCached(
            f"{timeline!r} has no cached frame: extract it first, or leave it out of the dataset"
        )
    return timeline.snapshot_cache.select(source, selection)
