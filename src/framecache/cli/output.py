"""Output formats for terminals and pipes: numbers, times, tables, JSON."""

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

import click

from framecache.cli.sentences import escape_unprintable, to_sentence

_SECONDS_A_MINUTE: Final = 60
_THOUSAND: Final = 1000
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")
_CENT: Final = Decimal("0.01")
_MIN_DOLLARS: Final = Decimal("0.000001")
_QUIET: Final = "framecache.quiet"


def set_quiet(context: click.Context) -> None:
    """Suppress the output of :func:`report` and of progress bars for this run."""
    context.meta[_QUIET] = True


def is_quiet() -> bool:
    """Return whether ``--quiet`` was given."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_QUIET))


def print_result(text: str) -> None:
    """Print the result of a command to stdout, as a sentence, unless ``--quiet`` was given."""
    if not is_quiet():
        click.echo(to_sentence(text))


def print_message(text: str) -> None:
    """Print a message to stderr, as a sentence in one line."""
    click.echo(f"framecache: {to_sentence(text)}", err=True)


def format_count(number: int, noun: str) -> str:
    """Format a count, as in ``1 frame`` or ``12,000 frames``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def format_size(number: int) -> str:
    """Format a number of bytes in decimal units: ``512 bytes``, ``31.4 kB``, ``7.9 MB``."""
    if number < _THOUSAND:
        return format_count(number, "byte")
    amount, unit = float(number), 0
    # An amount that would be shown as 1000.0 belongs to the next unit.
    while round(amount, 1) >= _THOUSAND and unit < len(_UNITS) - 1:
        amount /= _THOUSAND
        unit += 1
    return f"{amount:.1f} {_UNITS[unit]}"


def format_money(dollars: Decimal) -> str:
    """Format US dollars: ``$1,234.50``, ``$0.038``, ``$0.0003``; only zero is shown as ``$0``."""
    if 0 < dollars < _MIN_DOLLARS:
        return f"less than ${_MIN_DOLLARS:f}"
    in_cents = dollars.quantize(_CENT, ROUND_HALF_UP)
    if not dollars or in_cents >= 1:
        return f"${in_cents:,.2f}" if dollars else "$0"
    return f"${Context(prec=2, rounding=ROUND_HALF_UP).plus(dollars):f}"


def format_elapsed(seconds: float) -> str:
    """Format a duration, as in ``0.4 s`` or ``2 min 05 s``."""
    if round(seconds, 1) < _SECONDS_A_MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _SECONDS_A_MINUTE)
    return f"{minutes} min {rest:02d} s"


def print_json(document: dict[str, Any]) -> None:
    """Print the one document of a command with ``--json``."""
    click.echo(json.dumps(document, indent=2))


def unwrap_single(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the document of a single timeline, or ``{"timelines": […]}`` for several."""
    return documents[0] if len(documents) == 1 else {"timelines": list(documents)}


def print_fields(facts: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    lines = [(name, escape_unprintable(value)) for name, value in facts]
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        click.echo(f"  {name:<{width}}  {value}")


def print_table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()
) -> None:
    """Print a table without rules; long cells are folded on a terminal, but not in a pipe.

    Args:
        headers: names of the columns.
        rows: cells of each row, as text.
        right: names of the columns to align to the right, as for numbers.
    """
    from rich.cells import cell_len  # noqa: PLC0415 -- not needed for help and errors

    cells = [[escape_unprintable(cell) for cell in row] for row in rows]
    columns = [*zip(headers, *cells, strict=True)]
    widths = [max(map(cell_len, column)) for column in columns]
    is_terminal = sys.stdout.isatty()
    if is_terminal and sum(widths) + 2 * len(widths) - 2 > shutil.get_terminal_size().columns:
        _print_folded(headers, cells, right=right)
        return
    lines = [
        "  ".join(
            " " * (width - cell_len(cell)) + cell
            if header in right
            else cell + " " * (width - cell_len(cell))
            for header, cell, width in zip(headers, row, widths, strict=True)
        ).rstrip()
        for row in (headers, *cells)
    ]
    if is_terminal:
        lines[0] = click.style(lines[0], bold=True)
    click.echo("\n".join(lines))


def _print_folded(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str]
) -> None:
    """Print a table that is wider than the terminal; thousands of rows take seconds."""
    from rich.console import Console  # noqa: PLC0415 -- not needed for help and errors
    from rich.table import Table  # noqa: PLC0415 -- same
    from rich.text import Text  # noqa: PLC0415 -- same

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        justify = "right" if header in right else "left"
        table.add_column(header, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(file=sys.stdout, highlight=False)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()), color=True)
