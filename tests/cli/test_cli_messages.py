"""Every message on stderr is a sentence on one line, and its commands can be pasted."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import framecache
from framecache import errors
from framecache.cli import errors as cli_errors
from framecache.cli.output import print_message
from framecache.cli.sentences import to_sentence

SOURCES = Path(framecache.__file__).parent
VALUE = "«value»"
"""Placeholder in a message for the value of a field."""
TELLING = {
    *(name for name in vars(errors) if not name.startswith("_")),
    *("Refused", "Declined", "UsageError", "ClickException", "KeyboardInterrupt", "tell", "report"),
}
PASTED = re.compile(r"(?:framecache|pip install)(?: [a-z]+)? [^';:,.]*")
SAFE_IN_A_SHELL = re.compile(r".*(timeline_id|layout|asked|TIMELINE|package).*")


def written(node: ast.expr) -> str | None:
    """Return the text of a literal, with values for its fields; None for other nodes."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr():
            return "".join(
                str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values
            )
    return None


def filled_in(node: ast.expr) -> list[str]:
    """Return the expressions in the commands of a message."""
    if not isinstance(node, ast.JoinedStr):
        return []
    marked = "".join(
        str(part.value) if isinstance(part, ast.Constant) else f"\x00{ast.unparse(part)}\x01"
        for part in node.values
    )
    quoted = re.findall(r"'framecache [^\x00']*(?:\x00[^\x01]*\x01[^\x00']*)*'", marked)
    return [one for command in quoted for one in re.findall(r"\x00([^\x01]*)\x01", command)]


def messages() -> Iterator[tuple[str, ast.expr]]:
    """Return every literal of an error or of a line on stderr, and its location."""
    for path in sorted(SOURCES.rglob("*.py")):
        if "testing" in path.parts or "server" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and node.args):
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in TELLING and written(node.args[0]) is not None:
                yield f"{path.relative_to(SOURCES)}:{node.lineno}", node.args[0]


MESSAGES = dict(messages())


def test_messages_are_found_in_the_sources() -> None:
    assert len(MESSAGES) > 200


@pytest.mark.parametrize("place", MESSAGES)
def test_every_message_in_the_sources_becomes_a_sentence(place: str) -> None:
    text = written(MESSAGES[place])
    assert text is not None
    line = to_sentence(text)
    assert "\n" not in line
    assert ".." not in line.replace("'..'", "").replace('".."', "")
    # A name is recognized by its characters, or by the colon after it.
    assert not re.match(r"[a-z]+[ ,;.!?]", line), line
    assert re.search(r"[.?!…]\Z", line) or PASTED.search(line), line
    for value in filled_in(MESSAGES[place]):
        assert SAFE_IN_A_SHELL.fullmatch(value), value


KINDS = sorted((kind for kind in vars(errors).values() if isinstance(kind, type)), key=str)
OTHERS: list[BaseException] = [
    cli_errors.Refused("the file a.jpg exists: give --force"),
    cli_errors.Declined("nothing was changed"),
    click.UsageError("missing argument 'TIMELINE'."),
    click.ClickException("serving needs uvicorn"),
    click.Abort(),
    KeyboardInterrupt(),
    OSError(28, "No space left on device"),
    FileNotFoundError(2, "No such file or directory", "a/b.jpg"),
    RuntimeError("first\nsecond"),
    AssertionError(),
]


@pytest.mark.parametrize(
    "error",
    [*(kind("the store is not there") for kind in KINDS if issubclass(kind, Exception)), *OTHERS],
    ids=repr,
)
def test_every_kind_of_error_is_printed_as_a_sentence(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    cli_errors.report_error(error, arguments=[])
    line = capsys.readouterr().err
    assert re.fullmatch(r"framecache: ([A-Z]|a/b\.jpg: )[^\n]*([.?!]|--help)\n", line), line


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("nothing was changed", "Nothing was changed."),
        ("warning: no space", "Warning: no space."),
        ("interrupted", "Interrupted."),
        ("is it there?", "Is it there?"),
        ("There is none.", "There is none."),
        ("walk: its frames were kept", "walk: its frames were kept."),
        ("c0.mp4 is empty", "c0.mp4 is empty."),
        ("s3://bucket: no such bucket", "s3://bucket: no such bucket."),
        ("--name is wrong", "--name is wrong."),
        ("extract it first, or see framecache ls", "Extract it first, or see framecache ls"),
        ("it is gone: framecache rm 'a b'", "It is gone: framecache rm 'a b'"),
        ("it needs boto3: pip install 'x[aws]'", "It needs boto3: pip install 'x[aws]'"),
        ("it broke\n\x1b[2Jhere", r"It broke\n\x1b[2Jhere."),
    ],
)
def test_message_gets_a_capital_and_a_full_stop(
    text: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_message(text)
    assert capsys.readouterr().err == f"framecache: {printed}\n"
