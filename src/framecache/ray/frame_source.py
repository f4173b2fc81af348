"""Data source of Ray Data for frames: planned by packs and chunks, with pushdown."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from ray.data import Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from framecache._index import Snapshot
from framecache.ray.columns import INDEX_SCHEMA, KNOWN_ONCE_DECODED, index_table, schema_of
from framecache.ray.read_tasks import (
    MAX_BLOCK_BYTES,
    MIN_TASK_BYTES,
    FrameTask,
    Positions,
    ReadFormat,
    divide,
)
from framecache.timeline import Timeline


@dataclass(frozen=True, slots=True, eq=False)
class OpenedTimeline:
    """Timeline of a dataset, and the frames to read, as of one snapshot."""

    timeline: Timeline
    snapshot: Snapshot
    positions: Positions
    """Rows of the frames in the index, in reading order."""

    def where(self, predicate: Any) -> "OpenedTimeline":  # noqa: ANN401 -- an expression of pyarrow
        """Return the timeline with those frames whose columns in the index match."""
        index = self.snapshot.index
        table = index_table(self.timeline.timeline_id, index, self.positions)
        numbers = pa.array(range(len(self.positions)), pa.int64())
        matching = table.append_column(_NUMBER, numbers).filter(predicate)
        return replace(self, positions=self.positions[matching[_NUMBER].to_numpy()])


_NUMBER = "number of the row"


class FrameDatasource(Datasource):  # type: ignore[misc]
    """Frames of timelines.

    Columns that are not used, and conditions on columns of the index, are applied before any frame
    is fetched.
    """

    def __init__(self, timelines: Sequence[OpenedTimeline], output: ReadFormat) -> None:
        """Initialize; no request is made.

        Args:
            timelines: opened timelines.
            output: columns to read, and how images are decoded.
        """
        super().__init__()
        self._timelines = timelines
        self._format = output
        self._projection_map = None
        self._tasks: list[FrameTask] | None = None
        """The finest division: Ray asks for it several times."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the division, which is as large as all rows."""
        return vars(self) | {"_tasks": None}

    def get_name(self) -> str:
        """Return the name that Ray shows."""
        return "Frames"

    def supports_projection_pushdown(self) -> bool:
        """Return True: columns that nothing uses are not read."""
        return True

    def apply_projection(self, projection_map: dict[str, str] | None) -> "FrameDatasource":
        """Return a source of fewer columns."""
        clone: FrameDatasource = super().apply_projection(projection_map)
        chosen = clone.get_projection_map()
        if chosen is None:
            return clone
        # A block without columns would not have a number of rows.
        names = tuple(name for name in chosen if name in self._format.columns) or ("sequence",)
        return clone._altered(self._timelines, replace(self._format, columns=names))

    def supports_predicate_pushdown(self) -> bool:
        """Return True: frames that do not match a condition on the index are not fetched."""
        return True

    def apply_predicate(self, predicate_expr: Any) -> "FrameDatasource":  # noqa: ANN401 -- Ray's
        """Return a source of the frames that match, or this one if pictures decide it."""
        known = INDEX_SCHEMA
        if any(one.snapshot.index.is_decoded_on_demand.any() for one in self._timelines):
            known = pa.schema(field for field in known if field.name not in KNOWN_ONCE_DECODED)
        try:
            condition = predicate_expr.to_pyarrow()
            known.empty_table().filter(condition)
        except (pa.ArrowException, TypeError):
            return self  # Ray then filters the rows
        matching = [one.where(condition) for one in self._timelines]
        return copy.copy(self)._altered(matching, self._format)  # noqa: SLF001 -- of its own class

    def estimate_inmemory_data_size(self) -> int:
        """Return the bytes of all blocks."""
        return sum(task.size_bytes for task in self.tasks())

    def tasks(self) -> list[FrameTask]:
        """Return the finest division of the frames among tasks."""
        if self._tasks is None:
            self._tasks = [*self._divide(MIN_TASK_BYTES)]
        return self._tasks

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: Any = None,  # noqa: ANN401 -- Ray's
    ) -> list[ReadTask]:
        """Return the tasks: at most ``parallelism`` if their frames fit into memory."""
        tasks = self.tasks()
        if parallelism < len(tasks):
            total = sum(task.size_bytes for task in tasks)
            tasks = [*self._divide(max(MIN_TASK_BYTES, -(-total // max(1, parallelism))))]
        shapes = {shape for task in tasks for shape in task.shapes}
        schema = schema_of(self._format.columns, shapes)
        if per_task_row_limit is not None:
            tasks = [task.first(per_task_row_limit) for task in tasks]
        block_bytes = getattr(data_context, "target_max_block_size", None) or MAX_BLOCK_BYTES
        return [
            _read_task(
                task, self._format, schema, row_limit=per_task_row_limit, block_bytes=block_bytes
            )
            for task in tasks
        ]

    def _altered(
        self, timelines: Sequence[OpenedTimeline], output: ReadFormat
    ) -> "FrameDatasource":
        self._timelines, self._format, self._tasks = timelines, output, None
        return self

    def _divide(self, task_bytes: int) -> Iterator[FrameTask]:
        for one in self._timelines:
            yield from divide(
                one.timeline, one.snapshot, one.positions, self._format, task_bytes=task_bytes
            )


def _read_task(
    task: FrameTask,
    output: ReadFormat,
    schema: "pa.Schema | None",
    *,
    row_limit: int | None,
    block_bytes: int,
) -> ReadTask:
    def read_frames() -> "Iterable[pa.Table]":
        return task.read(output, block_bytes=block_bytes)

    metadata = BlockMetadata(
        num_rows=len(task), size_bytes=task.size_bytes, input_files=None, exec_stats=None
    )
    return ReadTask(read_frames, metadata, schema=schema, per_task_row_limit=row_limit)
