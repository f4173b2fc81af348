"""The ``framecache`` command: its help, its commands, and how it ends."""

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
from framecache.cli import failure
from framecache.cli.completion import VARIABLE, completion
from framecache.cli.doctor import doctor
from framecache.cli.fill import extract, rebuild
from framecache.cli.gc import gc
from framecache.cli.look import info, ls
from framecache.cli.options import root_options
from framecache.cli.remove import clear, rm
from framecache.cli.repack import repack
from framecache.cli.serve import serve
from framecache.cli.take import export, get
from framecache.cli.verify import verify
from framecache.errors import LocalCacheWarning, StoreWarning

_NAME: Final = "framecache"
_EPILOG: Final = """\b
Exit codes:
    0  done
    1  any other failure; doctor found one; a question answered with no
    2  the command line, an id or a value is wrong
    3  not cached, or a frame without a picture
    4  cached with other settings or chunks
    5  a chunk is missing, no video, or changed; or gave no picture at all
    6  the store refuses
    7  the store cannot be reached, does not exist, or is full
    8  stored bytes are not those committed, or are gone
    9  another program cleared the timeline meanwhile
  130  interrupted
  141  whoever read the output went away
"""


class _InOrder(click.Group):
    """Lists its commands in the order a newcomer needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        return list(self.commands)


@click.group(
    cls=_InOrder,
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
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


for command in (
    *(extract, ls, info, get, export),
    *(verify, clear, rebuild, repack, rm, gc),
    *(serve, doctor, completion),
):
    app.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: what follows the program's name; None: those of this process.
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
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 -- nobody sees a traceback
        return failure.report(error, arguments=given)
    return 0


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings as failures are shown, and those of framecache always."""
    with warnings.catch_warnings():
        for kind in (StoreWarning, LocalCacheWarning):
            warnings.simplefilter("always", kind)
        warnings.showwarning = failure.show_warning
        yield


def _prepare_streams() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        # Python has None for what the parent process closed.
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 -- until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal of another encoding must not turn a path into a failure.
        sys.stdout.reconfigure(errors="backslashreplace")
