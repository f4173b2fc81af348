"""``framecache completion``: script for completing commands and timelines in a shell."""

import os
from pathlib import PurePath
from typing import Final

import click
from click.shell_completion import get_completion_class

VARIABLE: Final = "_FRAMECACHE_COMPLETE"
"""Environment variable that the script sets to ask for completions."""

_SHELLS: Final = ("bash", "zsh", "fish")
_EPILOG: Final = """\b
Install it with one line in the shell's start-up file:
  bash  ~/.bashrc                   eval "$(framecache completion bash)"
  zsh   ~/.zshrc                    eval "$(framecache completion zsh)"
  fish  ~/.config/fish/config.fish  framecache completion fish | source
"""


@click.command(epilog=_EPILOG)
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
@click.pass_context
def completion(context: click.Context, shell: str | None) -> None:
    """Print the script that completes commands in a shell.

    Options and timelines are completed, too. Without SHELL, the shell in $SHELL is used.
    """
    name = shell or PurePath(os.environ.get("SHELL", "")).name
    kind = get_completion_class(name) if name in _SHELLS else None
    if kind is None:
        raise click.UsageError(f"Name the shell: {', '.join(_SHELLS)}.", context)
    root = context.find_root()
    click.echo(kind(root.command, {}, root.info_name or "framecache", VARIABLE).source())
