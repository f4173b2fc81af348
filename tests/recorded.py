"""Runs of FFmpeg's programs, recorded by what they are given.

A program that gets the same arguments and the same bytes is not run again, in this test run or a
later one: starting ffmpeg takes longer than what it then does for most tests. ``.cache/ffmpeg`` has
the results, by a hash of the program's version, its arguments, and all bytes that it reads.
"""

import json
import os
import re
import shutil
import subprocess
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final
from uuid import uuid4

FOLDER: Final = Path(__file__).parents[1] / ".cache" / "ffmpeg"
UNUSED_SECONDS: Final = 14 * 24 * 3600

_NAMES_A_FILE: Final = re.compile(r"(^|[^\w.])/|movie=|subtitles=")
"""An absolute path, also within a filter or a URL."""
_SEVERAL_FILES: Final = frozenset(
    {"-pass", "concat", "dash", "hls", "image2", "segment", "stream_segment", "tee"}
)
"""Arguments with which a program reads or writes files that no argument names."""
_PLAYLISTS: Final = frozenset({".ffconcat", ".m3u8", ".mpd", ".sdp", ".txt"})

Finished = subprocess.CompletedProcess[bytes]


def run(command: Sequence[str], *, data: bytes = b"", folder: Path = FOLDER) -> Finished:
    """Run ffmpeg or ffprobe, or return what it did when it was given the same.

    Args:
        command: the program and its arguments. The last one is the file that ffmpeg writes, or
            ``-``; each other path is an input. A command for which this cannot be known is run.
        data: its standard input.
        folder: folder of the results.
    """
    program, *arguments = command
    output = _output(program, arguments)
    inputs = _inputs(arguments if output is None else arguments[:-1])
    if inputs is None or not _writes_one_file(arguments, output):
        return _finished(command, data)
    path = folder / _hash_of(program, arguments, inputs, output, data)
    recorded = _recorded(path, command, output)
    if recorded is not None:
        return recorded
    before = [_state(one) for one in inputs]
    finished = _finished(command, data)
    is_known = before == [_state(one) for one in inputs] and _has_no_siblings(output)
    if finished.returncode == 0 and is_known:
        with suppress(OSError):  # a checkout that cannot be written
            _record(path, finished, output)
    return finished


def remove_unused(folder: Path = FOLDER) -> None:
    """Remove the results that no run has used for a while."""
    with suppress(OSError):
        for one in folder.iterdir():
            if time.time() - one.stat().st_mtime > UNUSED_SECONDS:
                one.unlink()


def _finished(command: Sequence[str], data: bytes) -> Finished:
    return subprocess.run(command, input=data, check=False, capture_output=True)


def _output(program: str, arguments: Sequence[str]) -> Path | None:
    """Return the file that a program writes, if it writes one."""
    if Path(program).name != "ffmpeg" or arguments[-1] == "-":
        return None
    return Path(arguments[-1])


def _inputs(arguments: Sequence[str]) -> list[Path] | None:
    """Return the files that a program reads; None if not all are known."""
    inputs = [Path(one) for one in arguments if os.path.isfile(one)]  # noqa: PTH113 -- of any length
    known = {str(one) for one in inputs}
    unknown = any(_NAMES_A_FILE.search(one) for one in arguments if one not in known)
    lists_others = any(one.suffix in _PLAYLISTS or "%" in one.name for one in inputs)
    return None if unknown or lists_others else inputs


def _writes_one_file(arguments: Sequence[str], output: Path | None) -> bool:
    if _SEVERAL_FILES.intersection(arguments):
        return False
    if output is None:
        return True
    is_new = output.is_file() or not output.exists()
    return is_new and output.suffix not in _PLAYLISTS and "%" not in output.name


def _has_no_siblings(output: Path | None) -> bool:
    """Return False if there may be more files that a program wrote."""
    if output is None:
        return True
    return [one for one in output.parent.iterdir() if one.name.startswith(output.stem)] == [output]


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _hash_of(
    program: str, arguments: Sequence[str], inputs: Sequence[Path], output: Path | None, data: bytes
) -> str:
    total = blake2b(digest_size=20)
    for part in _parts(program, arguments, inputs, output, data):
        total.update(b"%d " % len(part))
        total.update(part)
    return total.hexdigest()


def _parts(
    program: str, arguments: Sequence[str], inputs: Sequence[Path], output: Path | None, data: bytes
) -> Iterator[bytes]:
    yield version(program)
    paths = {str(one): one.name for one in inputs}
    last = [] if output is None else [f"output {output.name}"]
    for argument in [*arguments[: len(arguments) - len(last)], *last]:
        yield os.fsencode(paths.get(argument, argument))
    for path in inputs:
        yield path.read_bytes()
    yield data


@cache
def version(program: str) -> bytes:
    """Return what differs between two versions of a program."""
    path = Path(shutil.which(program) or program).resolve()
    shown = subprocess.run([path, "-version"], check=True, capture_output=True).stdout
    return f"{path} {_state(path)} ".encode() + shown


def _recorded(path: Path, command: Sequence[str], output: Path | None) -> Finished | None:
    try:
        content = zlib.decompress(path.read_bytes())
        os.utime(path)
    except (OSError, zlib.error):
        return None
    header, _, rest = content.partition(b"\n")
    lengths = json.loads(header)
    stdout, stderr, written = (
        rest[begin : begin + length]
        for begin, length in zip((0, lengths[0], lengths[0] + lengths[1]), lengths, strict=True)
    )
    if output is not None:
        output.write_bytes(written)
    return subprocess.CompletedProcess(list(command), 0, stdout, stderr)


def _record(path: Path, finished: Finished, output: Path | None) -> None:
    written = b"" if output is None else output.read_bytes()
    parts = (finished.stdout, finished.stderr, written)
    header = json.dumps([len(part) for part in parts]).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}-{uuid4().hex}")  # another process may do the same
    draft.write_bytes(zlib.compress(header + b"\n" + b"".join(parts), level=1))
    draft.replace(path)
