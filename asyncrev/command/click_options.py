"""The table of options for click: parameters, the help, and the values in a context."""

import collections
from collections.abc import Mapping
from typing import Any

import click
from click.core import ParameterSource

from asyncrev.command.option import GROUP_NOTES, GROUPS, LOG, Option
from asyncrev.command.option_values import (
    OptionValue,
    Source,
    default_of,
    without_yielding,
)
from asyncrev.command.options import OPTIONS

__all__ = ["MISTAKES", "OptionsCommand", "given_values_of", "parameters", "values_of"]

# The key of a list in `click.Context.meta`: if it is there, values that cannot be converted are
# noted in it, and the defaults stand for them, so that all mistakes are found.
MISTAKES = "asyncrev.mistakes"

# The text of longer names begins on the next line, so that it stays wide in 80 columns.
_NAME_COLUMNS = 22

_SOURCES = {
    ParameterSource.COMMANDLINE: Source.COMMAND_LINE,
    ParameterSource.ENVIRONMENT: Source.ENVIRONMENT,
}


class _RowOption(click.Option):
    """The parameter of one row. Click reads its environment variable and names it in messages."""

    def __init__(self, row: Option) -> None:
        super().__init__(
            [row.flag, row.name],
            type=row.type,
            default=row.default,
            metavar=row.placeholder,
            multiple=row.repeatable,
            envvar=row.variable,
            show_envvar=True,  # in messages; the help explains once how variables are named
            help=row.help,
        )
        self.row = row

    def handle_parse_result(
        self, context: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Convert the value, or note the mistake where somebody collects them."""
        mistakes: list[str] | None = context.meta.get(MISTAKES)
        try:
            return super().handle_parse_result(context, opts, args)
        except click.UsageError as error:
            if mistakes is None:
                raise
            mistakes.append(error.format_message())
            context.params[self.name or ""] = default_of(self.row).value
            context.set_parameter_source(self.name or "", ParameterSource.DEFAULT)
            return None, args

    def get_help_record(self, context: click.Context) -> tuple[str, str]:
        """Return name and text, without the variable and range that click would add to each."""
        default = self.row.shown_default
        text = f"{self.row.help}  [default: {default}]" if default else self.row.help
        return f"{self.row.flag} {self.row.placeholder}", text


class OptionsCommand(click.Command):
    """A command whose help lists its options under the headings of the table.

    An option that must not be given twice is refused then; click takes the last value.
    """

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Parse as the base does, and refuse what is given too often.

        Raises:
            click.UsageError: an option is given several times, or the base refuses the arguments.
        """
        _, _, given = self.make_parser(context).parse_args(args=list(args))
        for parameter, times in collections.Counter(given).items():
            if isinstance(parameter, _RowOption) and times > 1 and parameter.row.once:
                raise click.UsageError(f"{parameter.row.flag} is given {times} times; give it once")
        return super().parse_args(context, args)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each option under its heading; options that are not in the table under the last."""
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in GROUPS}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None:
                group = parameter.row.group if isinstance(parameter, _RowOption) else LOG
                groups[group].append(record)
        for name, records in groups.items():
            with formatter.section(name):
                if name in GROUP_NOTES:
                    formatter.write_text(GROUP_NOTES[name])
                    formatter.write_paragraph()
                formatter.write_dl(records, col_max=_NAME_COLUMNS)


def parameters() -> list[click.Parameter]:
    """Return a new parameter for each row, named like the row."""
    return [_RowOption(row) for row in OPTIONS]


def values_of(context: click.Context) -> list[OptionValue]:
    """Return each option with its value and the value's source, in the order of the table.

    Reads the file that --config names.

    Raises:
        SettingsError: the file cannot be used.
    """
    values = given_values_of(context)
    if context.params["config"] is None:
        return without_yielding(values)
    from asyncrev.command.config_values import with_file  # few servers have a file

    return with_file(values)


def given_values_of(context: click.Context) -> list[OptionValue]:
    """Return each option with its value from flags, the environment or its default, in order."""
    return [
        OptionValue(row, context.params[row.name], _source(context, row.name)) for row in OPTIONS
    ]


def _source(context: click.Context, name: str) -> Source:
    source = context.get_parameter_source(name)
    return Source.DEFAULT if source is None else _SOURCES.get(source, Source.DEFAULT)
