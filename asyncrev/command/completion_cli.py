"""The command `asyncrev completion`."""

import click

from asyncrev.command.completion import SHELLS, completion_script

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), metavar="|".join(SHELLS))
@click.pass_context
def completion(context: click.Context, /, shell: str) -> None:
    """Print the script by which a shell completes commands and options.

    \b
    Examples:
      asyncrev completion bash > ~/.local/share/bash-completion/completions/asyncrev
      asyncrev completion zsh > ~/.zfunc/_asyncrev
      asyncrev completion fish > ~/.config/fish/completions/asyncrev.fish

    A wheel has these scripts and the manual pages below share/ of its prefix, where shells and man
    find them if the prefix is /usr/local or /usr.

    Exit codes: 0 printed, 2 usage.
    """
    click.echo(completion_script(context.find_root().command, shell), nl=False)
