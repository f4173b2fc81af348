"""Every kind of file that ffmpeg writes here gives the frames that ffmpeg's own decode gives."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import pytest

from corpus import matrix
from corpus.comparing import Comparison, compare
from corpus.encoding import CannotMake
from corpus.expected import DIFFERENT, REFUSED
from corpus.files import CASES
from corpus.layouts import difference_of_layouts

PAGE: Final = Path(__file__).parents[2] / "docs" / "frames.md"
AT_ONCE: Final = 2

REFUSED_FILES: Final = [name for name, case in CASES.items() if case.container in REFUSED]
READ_FILES: Final = [name for name, case in CASES.items() if case.container not in REFUSED]


class Corpus:
    """Files that are made on first use, and compared once.

    In processes of their own, which start ffmpeg while no thread of theirs is at work.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._executor = ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn"))
        self._comparisons: dict[str, Future[Comparison]] = {}

    def begin(self, name: str) -> None:
        """Make and compare a file in the background."""
        if name not in self._comparisons:
            self._comparisons[name] = self._executor.submit(_made_and_compared, self._folder, name)

    def __getitem__(self, name: str) -> Comparison:
        """Return how framecache and ffmpeg compare on a file."""
        self.begin(name)
        try:
            return self._comparisons[name].result()
        except CannotMake as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"ffmpeg does not write it here: {error}")

    def stop(self) -> None:
        """Begin no more files."""
        self._executor.shutdown(cancel_futures=True)


def _made_and_compared(folder: Path, name: str) -> Comparison:
    path = folder / name
    CASES[name].make(path)
    try:
        return replace(compare(path, CASES[name].numbers), layouts=difference_of_layouts(path))
    finally:
        path.unlink()


@pytest.fixture(scope="module")
def corpus(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Corpus]:
    corpus = Corpus(tmp_path_factory.mktemp("corpus"))
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.path == request.path:
            for name in item.callspec.params.values() if hasattr(item, "callspec") else CASES:
                corpus.begin(str(name))
    yield corpus
    corpus.stop()


@pytest.mark.parametrize("name", READ_FILES)
def test_frames_times_sizes_and_pictures_match_ffmpeg(corpus: Corpus, name: str) -> None:
    comparison = corpus[name]
    expected = DIFFERENT[name].aspects if name in DIFFERENT else frozenset()
    assert comparison.refusal == ""
    assert comparison.aspects == expected, dict(comparison.differences)


@pytest.mark.parametrize("name", READ_FILES)
def test_frames_decoded_when_read_are_those_that_extraction_stores(
    corpus: Corpus, name: str
) -> None:
    assert corpus[name].layouts == ""


@pytest.mark.parametrize("name", REFUSED_FILES)
def test_unreadable_file_is_refused_with_a_conversion_command(corpus: Corpus, name: str) -> None:
    refusal = corpus[name].refusal
    assert refusal.startswith("UnreadableChunk: ")
    assert re.search(REFUSED[CASES[name].container], refusal)
    assert "'ffmpeg " in refusal


def test_tables_in_the_docs_match_the_corpus(corpus: Corpus) -> None:
    tables = matrix.tables({name: (case, corpus[name]) for name, case in CASES.items()})
    page = matrix.written_into(PAGE.read_text(), tables)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        PAGE.write_text(page)
    assert page == PAGE.read_text(), "UPDATE_SNAPSHOTS=1 writes them anew"
