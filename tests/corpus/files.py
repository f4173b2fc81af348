"""All files of the corpus."""

from itertools import chain
from typing import Final

from corpus import formats, joins, oddities, plain, stray_times
from corpus.case import Case

CASES: Final[dict[str, Case]] = {
    case.name: case
    for case in chain(
        plain.cases(), formats.cases(), joins.cases(), stray_times.cases(), oddities.cases()
    )
}
"""By the names of the files."""
