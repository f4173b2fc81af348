"""Sink of Ray Data that stores overlays."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from ray.data import Datasink
from ray.data.block import BlockAccessor

from framecache._core import keys
from framecache._core.numeric import as_index, format_value
from framecache._overlays import Overlay
from framecache.cache import FrameCache
from framecache.errors import InvalidValue
from framecache.ray.shared_store import require_shared

_KEYS = ("timeline_id", "sequence")


class OverlaySink(Datasink[None]):  # type: ignore[misc]
    """Sink that stores pictures of a dataset as overlays, for ``Dataset.write_datasink``.

    The dataset has the columns ``timeline_id`` and ``sequence``, and a column for each overlay: PNG
    bytes, or arrays of uint8, uint16 or bool. Rows without a picture (None) are skipped.

    The key of an overlay is given by its row, so a task that Ray runs again, even after it had
    stored everything, replaces its overlays by the same ones.
    """

    def __init__(
        self, cache: FrameCache, *, job_id: str, stage: str, overlays: Mapping[str, str]
    ) -> None:
        """Name a stage; no request is made.

        Args:
            cache: cache in a store that all nodes reach.
            job_id: run of a pipeline.
            stage: step of that run.
            overlays: name of each overlay by the column that has its pictures:
                ``{"mask_png": "mask"}``.

        Raises:
            InvalidId: a name cannot be part of a key.
            InvalidValue: the cache is in memory, or no column is given.

        Writing raises the errors of :meth:`Overlays.save_many`, and InvalidValue if a block lacks a
        column or has two rows for a frame.
        """
        require_shared(cache)
        self._cache = cache
        self._job_id = keys.check_id(job_id, what="job_id")
        self._stage = keys.check_id(stage, what="stage")
        self._overlays = _parse_overlays(overlays)

    def get_name(self) -> str:
        """Return the name that Ray shows."""
        return "Overlays"

    def write(self, blocks: Iterable[Any], ctx: Any) -> None:  # noqa: ANN401, ARG002 -- of Ray's interface
        """Store the overlays of blocks; see the class for what happens when it is repeated."""
        for block in blocks:
            table = BlockAccessor.for_block(block).to_arrow()
            for timeline_id, frames in self._by_timeline(table).items():
                timeline = self._cache.timeline(timeline_id)
                timeline.overlays(job_id=self._job_id, stage=self._stage).save_many(frames)

    def _by_timeline(self, table: "pa.Table") -> dict[str, dict[int, dict[str, Overlay]]]:
        for name in (*_KEYS, *self._overlays):
            if name not in table.column_names:
                raise InvalidValue(
                    f"the dataset has no column {name!r}: it has {', '.join(table.column_names)}"
                )
        pictures = {column: _pictures(table, column) for column in self._overlays}
        found: dict[str, dict[int, dict[str, Overlay]]] = {}
        frames = zip(*(table[name].to_pylist() for name in _KEYS), strict=True)
        for row, (timeline_id, given) in enumerate(frames):
            sequence = as_index(given)
            if sequence is None or not isinstance(timeline_id, str):
                raise InvalidValue(
                    "timeline_id and sequence of an overlay must be a string and an integer, not "
                    f"{format_value(timeline_id)} and {format_value(given)}"
                )
            named = {
                name: pictures[column][row]
                for column, name in self._overlays.items()
                if pictures[column][row] is not None
            }
            if sequence in found.setdefault(timeline_id, {}):
                raise InvalidValue(
                    f"the dataset has two rows for frame {sequence} of timeline {timeline_id}: "
                    "overlays would replace each other"
                )
            found[timeline_id][sequence] = named
        return found


def _parse_overlays(overlays: object) -> dict[str, str]:
    if not isinstance(overlays, Mapping) or not overlays:
        raise InvalidValue(
            'overlays must be names by column, such as {"mask_png": "mask"}, not '
            f"{format_value(overlays)}"
        )
    return {column: keys.check_id(name, what="overlay name") for column, name in overlays.items()}


def _pictures(table: "pa.Table", column: str) -> list[Any]:
    """Return bytes or arrays of a column; arrays may differ in shape."""
    of = table.schema.field(column).type
    if pa.types.is_binary(of) or pa.types.is_large_binary(of) or pa.types.is_null(of):
        values: list[Any] = table[column].to_pylist()
        return values
    batch = BlockAccessor.for_block(table.select([column])).to_numpy(column)
    return [None if one is None else np.ascontiguousarray(one) for one in batch]
