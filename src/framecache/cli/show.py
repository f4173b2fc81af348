"""How things look on a terminal and in a pipe: numbers, times, tables, JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

import click

_SECONDS_A_MINUTE: Final = 60
_THOUSAND: Final = 1000
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")
_CENT: Final = Decimal("0.01")
_LEAST_DOLLARS: Final = Decimal("0.000001")
# Beside a pipe nothing is cut or wrapped, whatever the terminal's width.
_PIPE_COLUMNS: Final = 10_000


def printable(text: str) -> str:
    """The text in one line, with control characters written as escapes."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def count(number: int, noun: str) -> str:
    """``1 frame``, ``12,000 frames``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def size(number: int) -> str:
    """``512 bytes``, ``31.4 kB``, ``7.9 MB``: steps of a thousand."""
    if number < _THOUSAND:
        return count(number, "byte")
    amount, unit = float(number), 0
    # What would be shown as 1000.0 belongs to the next unit.
    while round(amount, 1) >= _THOUSAND and unit < len(_UNITS) - 1:
        amount /= _THOUSAND
        unit += 1
    return f"{amount:.1f} {_UNITS[unit]}"


def money(dollars: Decimal) -> str:
    """``$1,234.50``, ``$0.038``, ``$0.0003``: what costs something is never shown as nothing."""
    if 0 < dollars < _LEAST_DOLLARS:
        return f"less than ${_LEAST_DOLLARS:f}"
    in_cents = dollars.quantize(_CENT, ROUND_HALF_UP)
    if not dollars or in_cents >= 1:
        return f"${in_cents:,.2f}" if dollars else "$0"
    return f"${Context(prec=2, rounding=ROUND_HALF_UP).plus(dollars):f}"


def elapsed(seconds: float) -> str:
    """``0.4 s``, ``2 min 05 s``: how long something took."""
    if round(seconds, 1) < _SECONDS_A_MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _SECONDS_A_MINUTE)
    return f"{minutes} min {rest:02d} s"


def print_json(document: dict[str, Any]) -> None:
    """The one document of a command with ``--json``."""
    click.echo(json.dumps(document, indent=2))


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and values, in two columns."""
    lines = [(name, printable(value)) for name, value in facts]
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        click.echo(f"  {name:<{width}}  {value}")


def print_table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()
) -> None:
    """A table, without lines, whose long cells fold on a terminal and never do in a pipe.

    Args:
        headers: the columns' names.
        rows: their cells, as text.
        right: the columns that are aligned to the right, as numbers are.
    """
    from rich.console import Console  # noqa: PLC0415 -- help and errors need not wait for rich
    from rich.table import Table  # noqa: PLC0415 -- likewise
    from rich.text import Text  # noqa: PLC0415 -- likewise

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        justify = "right" if header in right else "left"
        table.add_column(header, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _PIPE_COLUMNS
    console = Console(file=sys.stdout, width=width, highlight=False)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()), color=True)
