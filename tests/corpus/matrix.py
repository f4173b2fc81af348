"""The table of what the corpus found, for the docs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from corpus.case import Case
from corpus.comparing import Comparison
from corpus.expected import DIFFERENT

_BEGIN: Final = "<!-- corpus: begin -->"
_END: Final = "<!-- corpus: end -->"
_AGREES: Final = "✓"
_REFUSED: Final = "–"
_MANY: Final = 5
"""Codecs of a container that has a column of its own."""
_UNEXPECTED: Final = "?"

Compared = Mapping[str, tuple[Case, Comparison]]


def written_into(page: str, tables: str) -> str:
    """Return a page of the docs with the tables between its marks."""
    before, _, rest = page.partition(_BEGIN)
    after = rest.partition(_END)[2]
    return f"{before}{_BEGIN}\n\n{tables}\n{_END}{after}"


def tables(compared: Compared) -> str:
    """Return all tables: plain files, pixel formats and sizes, unusual files, and the notes."""
    notes = _Notes()
    plain = {name: pair for name, pair in compared.items() if not pair[0].oddity}
    odd = {name: pair for name, pair in compared.items() if pair[0].oddity}
    lines = [*_codecs(plain, notes), "", *_oddities(odd, notes), "", *notes.lines()]
    return "\n".join(lines).rstrip() + "\n"


class _Notes:
    """Numbered reasons for which a file differs."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, case: Case, comparison: Comparison) -> str:
        """Return what stands for a comparison in a cell."""
        if comparison.refusal:
            return _REFUSED
        if not comparison.differences:
            return _AGREES
        if case.name not in DIFFERENT:
            return _UNEXPECTED
        reason = DIFFERENT[case.name].reason
        return f"[{self._numbers.setdefault(reason, len(self._numbers) + 1)}]"

    def lines(self) -> Iterator[str]:
        """Yield the reasons."""
        yield from (f"- [{number}] {reason}" for reason, number in self._numbers.items())


def _codecs(compared: Compared, notes: _Notes) -> Iterator[str]:
    """Yield a table of codecs by containers, and one of the containers that take few codecs."""
    cells = {
        (case.codec, case.container): notes.mark(case, comparison)
        for case, comparison in compared.values()
    }
    counts = Counter(container for _, container in cells)
    many = [container for container, count in counts.items() if count >= _MANY]
    codecs = sorted({codec for codec, container in cells if container in many})
    yield from _row(["codec", *many])
    yield "|---|" + ":-:|" * len(many)
    for codec in codecs:
        yield from _row([codec, *(cells.get((codec, one), "") for one in many)])
    yield ""
    yield from _row(["container", "codecs"])
    yield "|---|---|"
    for container in counts:
        if container not in many:
            its_own = (
                f"{codec} {cell}" for (codec, one), cell in cells.items() if one == container
            )
            yield from _row([container, ", ".join(its_own)])


def _oddities(compared: Compared, notes: _Notes) -> Iterator[str]:
    yield from _row(["files", "containers", "number", "times repaired", "agree"])
    yield "|---|---|--:|--:|---|"
    for group, cases in _grouped(compared).items():
        marks = Counter(notes.mark(case, comparison) for case, comparison in cases)
        yield from _row(
            [
                group,
                ", ".join(dict.fromkeys(case.container for case, _ in cases)),
                str(len(cases)),
                str(sum(comparison.is_mended for _, comparison in cases) or ""),
                _AGREES if set(marks) == {_AGREES} else _counted(marks),
            ]
        )


def _grouped(compared: Compared) -> dict[str, list[tuple[Case, Comparison]]]:
    groups: dict[str, list[tuple[Case, Comparison]]] = {}
    for case, comparison in compared.values():
        groups.setdefault(case.oddity, []).append((case, comparison))
    return groups


def _counted(marks: Mapping[str, int]) -> str:
    return ", ".join(f"{count} × {mark}" for mark, count in marks.items())


def _row(cells: Iterable[str]) -> Iterator[str]:
    yield "| " + " | ".join(cells) + " |"
