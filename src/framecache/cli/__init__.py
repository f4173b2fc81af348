"""Command line interface: ``framecache COMMAND …``.

Results go to stdout; progress, questions, warnings and errors go to stderr. With ``--json``,
stdout carries exactly one JSON document. An error is one line, and the exit code gives its kind:

====  =================================================================================
code  meaning
====  =================================================================================
0     done
1     any other failure; ``doctor`` found one; a question was answered with no
2     the command line, an id or a value is invalid
3     not cached, or a frame without a picture
4     cached with other settings or chunks
5     a chunk is missing, not a video, or changed; or it gave no picture at all
6     the store denies access
7     the store or cluster cannot be reached, does not exist, or is full
8     stored bytes are missing or differ from those committed
9     another program cleared the timeline meanwhile
130   interrupted
141   the reader of the output closed the pipe
====  =================================================================================
"""

# Import only modules that are built into the interpreter or loaded already: a Ctrl-C during the
# import of another one would be lost or print a traceback.
import _signal  # type: ignore[import-not-found]  # the C part of `signal`
import os


def main() -> int:
    """Execute the command line of this process, and return the exit code.

    From here on, Ctrl-C ends the process within a second, with one line and exit code 130.
    """
    # A shell makes background processes ignore SIGINT.
    if _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, _exit_on_interrupt)
    from framecache.cli import interrupts  # noqa: PLC0415 - see above

    interrupts.exit_on_interrupt()
    interrupts.ignore_at_exit()
    from framecache.cli.app import main as run  # noqa: PLC0415 - takes most of a second

    try:
        with interrupts.enforce_exit():
            code = run()
    except KeyboardInterrupt:
        interrupts.exit_interrupted()
    if code == interrupts.EXIT_CODE:
        # The interruption was reported. Do not wait for threads that are still running.
        os._exit(code)
    if interrupts.is_interrupted():
        interrupts.exit_interrupted()
    return code


def _exit_on_interrupt(_number: int, _frame: object) -> None:
    try:
        os.write(2, b"framecache: Interrupted.\n")
    finally:
        os._exit(130)


__all__ = ["main"]
