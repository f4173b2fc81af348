"""Command groups, with hints for unknown commands."""

from typing import Final

import click

from framecache.cli.suggest import suggest_names

_SYNONYMS: Final = {
    "list": "ls",
    "show": "info",
    "copy": "cp",
    "delete": "rm",
    "remove": "rm",
    "check": "verify",
}
"""Names of these commands in other programs."""


class OrderedGroup(click.Group):
    """Group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return the names of the commands in the order in which they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; add its context to a usage error that has none."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            command = self.commands.get(ctx.invoked_subcommand or "")
            if error.ctx is None and command is not None:
                error.ctx = click.Context(command, parent=ctx, info_name=ctx.invoked_subcommand)
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; if there is none of that name, suggest similar ones in the error."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            name = str(args[0])
            if name.startswith("-"):
                raise
            hint = suggest_names(_SYNONYMS.get(name, name), self.commands)
            raise click.UsageError(f"No such command {name!r}. {hint}".rstrip(), ctx) from error


def require_command(context: click.Context) -> None:
    """Print the help to stderr and exit if the command line names no command of a group."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)
