"""All files of the corpus."""

from itertools import chain
from typing import Final

from corpus import formats, joins, odd_pictures, odd_times, plain, stray_times
from corpus.case import Case

_ALL: Final = list(
    chain(
        plain.cases(),
        formats.cases(),
        joins.cases(),
        stray_times.cases(),
        odd_times.cases(),
        odd_pictures.cases(),
    )
)
CASES: Final[dict[str, Case]] = {case.name: case for case in _ALL}
"""By the names of the files."""

if len(CASES) < len(_ALL):
    raise ValueError(f"two files have one name: {[c.name for c in _ALL if CASES[c.name] is not c]}")
