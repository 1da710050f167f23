"""The table of the options of `asyncrev serve`; everything that is said or done with one follows.

Click's parameters and the help (`click_options`), exclusions (`option_values`), the settings of a
server (`settings`), the start line (`start_line`) and the reference (`options_page`) are made from
`OPTIONS`. Its rows are in the modules `option_rows_...`, but for those of the server's operation. A
new option is one row, and one field of `ServeSettings` or `Limits`; one that a reload cannot change
is also named in `config_reload.FIXED`.
"""

import click

from asyncrev.command.option import LOG, TIMEOUTS, Option
from asyncrev.command.option_rows_limits import LIMIT_OPTIONS
from asyncrev.command.option_rows_listening import LISTENING_OPTIONS
from asyncrev.command.option_rows_processing import PROCESSING_OPTIONS
from asyncrev.command.option_types import CONFIG_PATH, SECONDS
from asyncrev.command.units import format_seconds

__all__ = ["OPTIONS", "option_named"]

# The order of rows is that of the start line and, within a group, that of the help.
OPTIONS = (
    *LISTENING_OPTIONS,
    *PROCESSING_OPTIONS,
    *LIMIT_OPTIONS,
    Option(
        name="drain_delay_s",
        type=SECONDS,
        default="0",
        help="Time after a stop, other than SIGINT, in which connections are still accepted while "
        "/readyz of --admin says no; 5 under Kubernetes.",
        group=TIMEOUTS,
        sets="drain_delay_s",
    ),
    Option(
        name="drain_spread_s",
        type=SECONDS,
        default="0",
        help="Time, of that of the drain, over which connections are told to end, at even "
        "distances, so that clients do not all connect elsewhere at the same moment.",
        group=TIMEOUTS,
        sets="drain_spread_s",
    ),
    Option(
        name="hung_after_s",
        type=SECONDS,
        default=format_seconds(30.0),
        help="Time after which a worker whose loop, or a thread with something to do, does not "
        "move is ended, and started again; inf for no limit.",
        group=TIMEOUTS,
        sets="hung_after_s",
        needs="workers",
        needs_hint="say how many",
    ),
    Option(
        name="admin",
        type=click.STRING,
        metavar="unix:PATH|HOST:PORT",
        help="Serve metrics, health and statistics there, by HTTP; a UNIX socket has mode 0600. "
        "Needs asyncrev[ops].",
        group=LOG,
        sets="admin",
    ),
    Option(
        name="config",
        type=CONFIG_PATH,
        metavar="PATH",
        help="Take options from this TOML file, too; flags and variables come first. `asyncrev "
        "config show` prints the result.",
        group=LOG,
        sets="",
    ),
    Option(
        name="log_level",
        type=click.Choice(["debug", "info", "warning", "error", "critical"]),
        default="info",
        help="Lowest level of the records that are logged to stderr.",
        group=LOG,
        sets="log_level",
    ),
    Option(
        name="log_format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="The form of the log on stderr and of the access log: text, or one JSON object per "
        "line.",
        group=LOG,
        sets="log_format",
    ),
    Option(
        name="access_log",
        type=click.STRING,
        metavar="PATH|-",
        help="Write a line per closed connection to this file, or to stdout. SIGHUP reopens it.",
        group=LOG,
        sets="access_log",
    ),
)

_BY_NAME = {option.name: option for option in OPTIONS}


def option_named(name: str) -> Option:
    """Return the row of that name.

    Raises:
        KeyError: there is none.
    """
    return _BY_NAME[name]
