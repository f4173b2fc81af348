"""Reports of mypy to a user of the public API; the other files of this folder pin its types.

Those are among the files that ``make lint`` checks. Here mypy checks a program of a user, with the
settings of the project: wrong calls are errors, and inferred types are the documented ones.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mypy import api

import framecache
from framecache import Index, Overlays, Sprites, Timeline, functional, testing

ROOT = Path(__file__).parents[2]
PINS = [path for path in Path(__file__).parent.glob("*.py") if path != Path(__file__)]
IMPORTS = """
import numpy as np
import numpy.typing as npt
from framecache import Chunk, Frame, FrameCache, Timeline
from framecache.functional import cache_frames, save_overlays
from framecache.store import Store
match: Timeline
frame: Frame
floats: npt.NDArray[np.float64]
"""
INTERNAL = {
    "Index": {
        *("decode", "decode_lazy", "empty", "encode", "from_listing", "is_in_time_order"),
        *("is_unindexed", "merged", "position_at", "provenance", "row", "rows", "take"),
    },
    "Sprites": {"found_or_made"},
    "Timeline": {"snapshot_cache"},
}
"""Members for other modules of framecache, whose types may change."""

WRONG = {
    'match.frame("60")': "arg-type",
    "match.frame(60, 0.5)": "call-arg",
    'match.frame(60, color="yuv")': "arg-type",
    'match.frame(60, colour="bgr")': "call-arg",
    "match.frame_at(None)": "arg-type",
    "match.frame_at([1.0])": "arg-type",
    'match.extract("c0.mp4", 5)': "call-arg",
    'match.extract("c0.mp4", layout="zip")': "arg-type",
    'match.extract("c0.mp4", aspect=1.5)': "arg-type",
    "match.extract([1, 2])": "list-item",
    "match.extract()": "call-arg",
    'match.write([frame], on_conflict="ignore")': "arg-type",
    "match.write(frame)": "arg-type",
    "match.rebuild(True)": "call-arg",
    'match.repack("tar")': "arg-type",
    "match.batch(5)": "arg-type",
    'match.batch([5], missing="zero")': "arg-type",
    'match.frames(follow="live")': "arg-type",
    "match.frames(ranges=[(1.5, 2)])": "list-item",
    "match.batch([1], out=floats)": "arg-type",
    'match.overlays("run-7", "edges")': "call-arg",
    'match.overlays(job_id="run-7", stage="edges").save(20, b"png")': "arg-type",
    "match.no_such_method()": "attr-defined",
    "match.exists = True": "misc",
    "frame.sequence = 5": "misc",
    'Frame("5", 0, 0.0, frame.image)': "arg-type",
    "Frame(5, 0, 0.0, floats)": "arg-type",
    'Chunk("c0.mp4", start_seconds=None, stop_seconds=1)': "call-arg",
    "FrameCache(5)": "arg-type",
    'FrameCache("cache", "local")': "call-arg",
    'cache_frames("t", [object()])': "list-item",
    'save_overlays("t", "job", "stage", 20, {"mask": b"png"})': "dict-item",
    "store: Store = object()": "assignment",
    "from framecache import NoSuchName": "attr-defined",
    "from framecache.testing import NoSuchName": "attr-defined",
}
"""Wrong calls, and the error that mypy reports on each."""

REVEALED = {
    'FrameCache().timeline("t")': "framecache.timeline.Timeline",
    "match.frame(60)": "framecache.model.Frame",
    "[one.timestamp for one in match.frames()]": "list[float]",
    "next(match.jpegs([1]))": "bytes",
    "match.index.sequence.tolist()": "Any",
    "match.write([frame]) + 1": "int",
    "match.info().epoch": "str | None",
}
"""Expressions of a user, and the types that mypy shows for them."""


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[str]]:
    """Return mypy's report on each line of a program with these calls, one a line."""
    program = tmp_path_factory.mktemp("user") / "program.py"
    program.write_text("\n".join(lines()))
    settings = ["--config-file", str(ROOT / "pyproject.toml"), "--no-pretty"]
    found: dict[int, list[str]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        output, trouble, _ = api.run([*settings, str(program)])
    assert trouble == ""
    for line, message in re.findall(r"program\.py:(\d+): (.*)", output):
        found.setdefault(int(line), []).append(message)
    return found


def lines() -> list[str]:
    revealed = [f"reveal_type({expression})" for expression in REVEALED]
    return [*IMPORTS.splitlines(), *WRONG, *revealed]


def line_of(code: str) -> int:
    return lines().index(code) + 1


@pytest.mark.parametrize(("code", "error"), WRONG.items(), ids=WRONG)
def test_wrong_call_is_a_type_error(messages: dict[int, list[str]], code: str, error: str) -> None:
    found = [one for one in messages.get(line_of(code), []) if one.startswith("error: ")]
    assert any(one.endswith(f"[{error}]") for one in found), found


@pytest.mark.parametrize(("expression", "expected"), REVEALED.items(), ids=REVEALED)
def test_public_call_has_the_documented_type(
    messages: dict[int, list[str]], expression: str, expected: str
) -> None:
    assert messages[line_of(f"reveal_type({expression})")] == [
        f'note: Revealed type is "{expected}"'
    ]


def test_errors_occur_only_in_wrong_calls(messages: dict[int, list[str]]) -> None:
    assert min(messages) > len(IMPORTS.splitlines())


def test_every_public_name_has_a_typing_test() -> None:
    used = set(names_in_pins())
    plain = {
        name
        for name, value in vars(functional).items()
        if inspect.isfunction(value) and value.__module__ == functional.__name__
    }
    plain = {name for name in plain if not name.startswith("_")}
    assert {*framecache.__all__, *plain} - used == set()
    assert {*testing.__all__} - used - {"Crash", "Hook", "Schedule", "fail_from_nth"} == set()


@pytest.mark.parametrize("of", [framecache.FrameCache, Timeline, Overlays, Index, Sprites])
def test_every_public_member_has_a_typing_test(of: type) -> None:
    members = {name for name in vars(of) if not name.startswith("_")}
    assert members - INTERNAL.get(of.__name__, set()) - set(names_in_pins()) == set()


def names_in_pins() -> Iterator[str]:
    """The names of all variables and attributes that the files of types use."""
    for path in PINS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name):
                yield node.id
            elif isinstance(node, ast.Attribute):
                yield node.attr
