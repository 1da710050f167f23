"""The commands `asyncrev config show` and `asyncrev config check`."""

import os
import sys

import click

from asyncrev.command.click_options import (
    MISTAKES,
    OptionsCommand,
    given_values_of,
    parameters,
    values_of,
)
from asyncrev.command.exit_codes import EXIT_USAGE
from asyncrev.errors import LocalError, SettingsError

__all__ = ["config"]

_FORMATS = ("text", "toml", "json")


@click.group()
def config() -> None:
    """Show or check the options of a server: flags, variables and the file of --config."""


@config.command(
    cls=OptionsCommand,
    params=[
        *parameters(),
        click.Option(
            ["--format", "form"],
            type=click.Choice(_FORMATS),
            default="text",
            help="The form of the output; toml is a file that --config takes.  [default: text]",
        ),
    ],
)
@click.pass_context
def show(context: click.Context, /, form: str, **_: object) -> None:
    """Print each option with its value and where it comes from.

    \b
    Examples:
      asyncrev config show --config asyncrev.toml --port 9191
      asyncrev config show --format toml > asyncrev.toml

    It takes the options of `asyncrev serve` and its environment variables. Origins are a flag, a
    variable, FILE:LINE, or default. Defaults that follow from other options have the value that
    they would have. The processor is not imported; `asyncrev config check` does that.

    Exit codes: 0 shown, 2 an option or the file cannot be used.
    """
    from asyncrev.command import config_show
    from asyncrev.command.config_values import name_places
    from asyncrev.command.option_values import OptionValue, refuse_contradictions

    forms = {
        "text": config_show.as_text,
        "toml": config_show.as_toml,
        "json": config_show.as_json,
    }
    values: list[OptionValue] = []
    try:
        values = values_of(context)
        refuse_contradictions(values)
        output = forms[form](config_show.effective(values))
    except (SettingsError, LocalError) as error:
        raise click.UsageError(name_places(str(error), values)) from None
    click.echo(output, nl=False)


class _CheckCommand(OptionsCommand):
    """Its options are taken with their mistakes, which are reported together."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.meta[MISTAKES] = []
        return super().parse_args(context, args)


@config.command(cls=_CheckCommand, params=parameters())
@click.pass_context
def check(context: click.Context, /, **_: object) -> None:
    """Check the options that a server would start with, without starting it.

    \b
    Example:
      asyncrev config check --config asyncrev.toml && systemctl reload rev

    It takes the options of `asyncrev serve` and its environment variables, imports the processor,
    and loads certificates. Every mistake that can be found is a line on stderr. It does not listen,
    and opens no file for writing.

    Exit codes: 0 and one line on stdout if the server could start, 2 if not.
    """
    from asyncrev.command import config_check
    from asyncrev.command.config_values import with_file_and_mistakes
    from asyncrev.command.option_values import warnings_of_variables

    mistakes: list[str] = context.meta[MISTAKES]
    values = given_values_of(context)
    try:
        values, of_file = with_file_and_mistakes(values)
        mistakes += of_file
    except SettingsError as error:
        mistakes.append(str(error))
    verdict = config_check.check(values)
    for warning in (*warnings_of_variables(os.environ), *verdict.warnings):
        _say(f"asyncrev: warning: {warning}")
    mistakes += verdict.mistakes
    for mistake in mistakes:
        _say(f"asyncrev: error: {mistake}")
    if mistakes:
        sys.exit(EXIT_USAGE)
    click.echo(config_check.summary(values))


def _say(line: str) -> None:
    from asyncrev.log_text import one_line

    click.echo(one_line(line), err=True)
