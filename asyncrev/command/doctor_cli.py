"""The command `asyncrev doctor`."""

import sys

import click

from asyncrev.command.click_options import (
    MISTAKES,
    OptionsCommand,
    given_values_of,
    parameters,
)
from asyncrev.errors import SettingsError

__all__ = ["doctor"]


class _DoctorCommand(OptionsCommand):
    """Its options are taken with their mistakes, which are findings as others."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.meta[MISTAKES] = []
        return super().parse_args(context, args)


@click.command(
    cls=_DoctorCommand,
    params=[
        *parameters(),
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object."),
    ],
)
@click.pass_context
def doctor(context: click.Context, /, as_json: bool, **_: object) -> None:
    """Check this machine, and the options that a server would start with.

    \b
    Examples:
      asyncrev doctor
      asyncrev doctor --config asyncrev.toml --workers 4 --json

    It takes the options of `asyncrev serve` and its environment variables. Each line is ok, warning
    or error, with the command that changes it. It checks limits of open files, accept queues, the
    address and who has it, memory, CPU, certificates, the processor, and what is installed.

    Exit codes: 0 all is ok, 1 there are warnings, 2 there are errors, or the usage is wrong.
    """
    import json

    from asyncrev.command.config_values import with_file_and_mistakes
    from asyncrev.command.doctor import ERROR, OK, WARNING, Finding, findings
    from asyncrev.log_text import one_line

    mistakes: list[str] = context.meta[MISTAKES]
    values = given_values_of(context)
    try:
        values, of_file = with_file_and_mistakes(values)
        mistakes += of_file
    except SettingsError as error:
        mistakes.append(str(error))
    found = [Finding("options", ERROR, mistake, "asyncrev serve --help") for mistake in mistakes]
    found += findings(values)
    levels = {one.level for one in found}
    worst = ERROR if ERROR in levels else WARNING if WARNING in levels else OK
    if as_json:
        checks = [
            {"check": one.check, "level": one.level, "text": one.text, "fix": one.fix}
            for one in found
        ]
        click.echo(json.dumps({"level": worst, "checks": checks}))
    else:
        for one in found:
            click.echo(f"{one.level:<8} {one.check:<12} {one_line(one.text)}")
            if one.fix:
                click.echo(f"{'':<21} fix: {one_line(one.fix)}")
    sys.exit((OK, WARNING, ERROR).index(worst))
