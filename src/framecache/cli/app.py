"""The ``framecache`` command: help, subcommands, error handling and exit codes."""

import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from click.shell_completion import shell_complete

from framecache._version import __version__
from framecache.cli import errors
from framecache.cli.clear_rm import clear, rm
from framecache.cli.completion import VARIABLE, completion
from framecache.cli.cp import cp
from framecache.cli.doctor import doctor
from framecache.cli.export import export
from framecache.cli.extract_rebuild import extract, rebuild
from framecache.cli.gc import gc
from framecache.cli.get import get
from framecache.cli.group import OrderedGroup, require_command
from framecache.cli.import_folder import import_folder
from framecache.cli.ls_info import info, ls
from framecache.cli.options import root_options
from framecache.cli.overlays import overlays
from framecache.cli.renditions import renditions
from framecache.cli.repack import repack
from framecache.cli.serve import open_timeline, serve
from framecache.cli.verify import verify
from framecache.errors import LocalCacheWarning, StoreWarning

_NAME: Final = "framecache"
_EPILOG: Final = """\b
Exit codes:
    0  done
    1  any other failure; doctor found a problem; confirmation declined
    2  the command line, an id or a value is invalid
    3  not cached, or a frame without a picture
    4  cached with other settings or chunks
    5  a chunk is missing, not a video, or changed; or contains no picture
    6  the store denies access
    7  the store or cluster cannot be reached, does not exist, or is full
    8  stored bytes differ from those committed, or are missing
    9  another program cleared the timeline in the meantime
  130  interrupted
  141  the reader of the output closed it
"""


@click.group(
    cls=OrderedGroup,
    epilog=_EPILOG,
    invoke_without_command=True,
    subcommand_metavar="COMMAND ...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
)
@root_options
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def app(context: click.Context, /, **_: object) -> None:
    """Decode videos once, keep their frames in your own storage, read them anywhere.

    A timeline is one continuous time axis; its video is one or more chunks in order. The cache
    is a local folder or a bucket: --cache, else $FRAMECACHE_URL, else s3://$S3_BUCKET, else
    ./.framecache.
    """
    require_command(context)


for command in (
    *(extract, ls, info, get, export, import_folder),
    *(verify, clear, rebuild, repack, renditions, cp, rm, overlays, gc),
    *(serve, open_timeline, doctor, completion),
):
    app.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: arguments after the program's name; None for those of this process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _prepare_streams()
    if instruction := os.environ.get(VARIABLE):
        return shell_complete(app, {}, _NAME, VARIABLE, instruction)
    try:
        with _plain_warnings(), app.make_context(_NAME, given.copy()) as context:
            app.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 -- users see no traceback
        return errors.report_error(error, arguments=given)
    return 0


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings in the format of errors, and those of framecache every time."""
    with warnings.catch_warnings():
        for kind in (StoreWarning, LocalCacheWarning):
            warnings.simplefilter("always", kind)
        warnings.showwarning = errors.make_warning_printer()
        yield


def _prepare_streams() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        # A stream that the parent process closed is None.
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 -- until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path that the terminal's encoding cannot represent must not raise an error.
        sys.stdout.reconfigure(errors="backslashreplace")
