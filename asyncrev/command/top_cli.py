"""The command `asyncrev top`."""

import sys

import click

from asyncrev.command.exit_codes import EXIT_RUNTIME_ERROR, EXIT_USAGE
from asyncrev.command.option_types import SECONDS
from asyncrev.command.signals import ProcessSignals
from asyncrev.errors import LocalError, SettingsError

__all__ = ["top"]


@click.command()
@click.option(
    "--admin",
    metavar="unix:PATH|HOST:PORT",
    envvar="ASYNCREV_ADMIN",
    show_envvar=True,
    help="Address of the server's admin endpoint, as the server has it.",
)
@click.option(
    "--interval",
    "interval_s",
    metavar="SECONDS",
    type=SECONDS,
    default=1.0,
    show_default=True,
    help="Time between two looks, from 0.2 s on.",
)
@click.option("--once", is_flag=True, help="Print one look as text, after one interval.")
@click.option("--json", "as_json", is_flag=True, help="Print each look as a line of JSON.")
@click.pass_context
def top(
    context: click.Context, /, admin: str | None, interval_s: float, once: bool, as_json: bool
) -> None:
    """Show what a server does, by its admin endpoint: workers and connections.

    \b
    Examples:
      asyncrev top --admin unix:/run/rev/admin.sock
      asyncrev top --admin 127.0.0.1:9190 --once --json

    Keys: c, b and i sort connections by the time since they connected, by bytes, and by bytes in
    flight; q quits. Where stdin or stdout is no terminal, it prints text. In a terminal it needs
    asyncrev[ops].

    Exit codes: 0 by q or Ctrl-C, 1 the endpoint does not answer, 2 usage; 128 + signal.
    """
    from asyncrev.command.top import top as show

    signals: ProcessSignals | None = context.obj
    if signals is not None:
        signals.give_back()  # nothing is served that would have to be drained
    try:
        code = show(admin, interval_s, once=once, as_json=as_json)
    except (SettingsError, LocalError) as error:
        from asyncrev.log_text import one_line

        click.echo(f"asyncrev: error: {one_line(str(error))}", err=True)
        code = EXIT_USAGE if isinstance(error, SettingsError) else EXIT_RUNTIME_ERROR
    sys.exit(code)
