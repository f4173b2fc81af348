"""Targets from tables of every kind."""

import pickle
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from gray_frames import timelines
from torch.utils.data import DataLoader

from framecache import InvalidValue
from framecache.torch import FrameDataset, TableTarget

COLUMNS = {
    "timeline_id": ["t1", "t0", "t0", "t1"],
    "sequence": [3, 7, 2, 0],
    "score": [0.5, 0.25, 1.0, 0.0],
    "label": ["goal", "pass", "foul", "none"],
    "box": [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [0, 0, 1, 1]],
}


def relation() -> Any:  # noqa: ANN401 -- of DuckDB
    table = pa.table(COLUMNS)
    return duckdb.from_arrow(table).filter("score >= 0")


TABLES = {
    "mapping": lambda: COLUMNS,
    "pyarrow": lambda: pa.table(COLUMNS),
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "duckdb": relation,
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_row_of_any_table_is_found_by_timeline_and_sequence(make: Any) -> None:  # noqa: ANN401 -- see above
    target = TableTarget(make())
    found = target("t0", 7)
    assert found["score"] == 0.25
    assert type(found["score"]) is float
    assert found["label"] == "pass"
    assert found["box"].tolist() == [5, 6, 7, 8]
    assert target("t1", 0)["label"] == "none"


def test_columns_can_be_selected() -> None:
    assert TableTarget(COLUMNS, columns=["label"])("t1", 3) == {"label": "goal"}
    with pytest.raises(
        InvalidValue, match="no column 'scores': it has timeline_id, sequence, score"
    ):
        TableTarget(COLUMNS, columns=["scores"])


def test_frame_without_a_row_is_rejected_or_gets_the_default() -> None:
    with pytest.raises(InvalidValue, match="no row for frame 8 of timeline t0: add one, or"):
        TableTarget(COLUMNS)("t0", 8)
    with pytest.raises(InvalidValue, match="timeline t9"):
        TableTarget(COLUMNS)("t9", 8)
    assert TableTarget(COLUMNS, default={"score": -1.0})("t0", 8) == {"score": -1.0}


def test_several_rows_of_a_frame_are_rejected_or_all_returned() -> None:
    table = {
        "timeline_id": ["t0"] * 4,
        "sequence": [5, 1, 5, 5],
        "score": [0.1, 0.2, 0.3, 0.4],
        "box": [[0.0, 1.0]] * 4,
        "label": list("abcd"),
    }
    with pytest.raises(InvalidValue, match="several rows for frame 5 of timeline t0"):
        TableTarget(table)
    target = TableTarget(table, rows="all")
    found = target("t0", 5)
    assert found["score"].tolist() == pytest.approx([0.1, 0.3, 0.4])
    assert found["box"].shape == (3, 2)
    assert found["label"] == ["a", "c", "d"]
    empty = target("t0", 6)
    assert empty["score"].shape == (0,)
    assert empty["box"].shape == (0, 2)
    assert empty["label"] == []


def test_nulls_and_lists_of_different_lengths_are_returned_unchanged() -> None:
    table = {
        "timeline_id": ["t0", "t0"],
        "sequence": [0, 1],
        "maybe": [1.5, None],
        "path": [[1, 2, 3], [4]],
    }
    assert TableTarget(table)("t0", 1) == {"maybe": None, "path": [4]}


def test_lists_whose_inner_lists_have_several_lengths_stay_lists() -> None:
    polygons = [[[0, 0, 4, 0, 4, 4]], [[1, 1, 2, 2]]]
    table = {"timeline_id": ["t0", "t0"], "sequence": [0, 1], "polygons": polygons}
    assert TableTarget(table)("t0", 0) == {"polygons": polygons[0]}
    assert TableTarget(table, rows="all")("t0", 1) == {"polygons": [polygons[1]]}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (5, "is not a table"),
        ({"sequence": [1]}, "no column 'timeline_id'"),
        ({"timeline_id": ["t"], "sequence": ["one"]}, "must hold integers"),
        ({"timeline_id": ["t"], "sequence": [None]}, "must hold integers"),
        ({"timeline_id": ["t"], "sequence": [0.5]}, "must hold integers"),
        ({"timeline_id": ["t", None], "sequence": [0, 1]}, "must hold strings"),
        ({"timeline_id": [7], "sequence": [0]}, "must hold strings"),
        ({"timeline_id": ["t"], "sequence": [0, 1]}, "sequences of one length"),
        ({"timeline_id": ["t"], "sequence": [0], "box": np.zeros((1, 4))}, "give sequences"),
        ({"timeline_id": ["t"], "sequence": 0}, "give sequences"),
    ],
    ids=str,
)
def test_table_that_cannot_be_joined_is_rejected(table: Any, message: str) -> None:  # noqa: ANN401 -- anything
    with pytest.raises(InvalidValue, match=message):
        TableTarget(table)


def test_invalid_rows_option_is_rejected() -> None:
    with pytest.raises(InvalidValue, match='"one" or "all"'):
        TableTarget(COLUMNS, rows="many")  # type: ignore[arg-type]


def test_target_can_be_pickled() -> None:
    target = pickle.loads(pickle.dumps(TableTarget(COLUMNS)))
    assert target("t0", 2)["label"] == "foul"
    with pytest.raises(InvalidValue, match="no row"):
        target("t0", 3)


def test_targets_are_collated_with_their_frames(tmp_path: Path) -> None:
    frames = [(f"t{number}", sequence) for number in range(3) for sequence in range(12)]
    table = {
        "timeline_id": [name for name, _ in frames],
        "sequence": [sequence for _, sequence in frames],
        "score": [int(name[1]) + sequence / 100 for name, sequence in frames],
        "box": [[sequence, 0] for _, sequence in frames],
    }
    dataset = FrameDataset(timelines(tmp_path), target=TableTarget(table))
    order = torch.randperm(36, generator=torch.Generator().manual_seed(1)).tolist()
    for batch in DataLoader(dataset, batch_size=9, sampler=order, num_workers=2):
        timeline = torch.tensor([int(name[1]) for name in batch["timeline_id"]])
        assert batch["target"]["score"].tolist() == pytest.approx(
            (timeline + batch["sequence"] / 100).tolist()
        )
        assert batch["target"]["box"][:, 0].tolist() == batch["sequence"].tolist()
