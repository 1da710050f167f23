"""Options of `asyncrev serve`: how one is declared, those of `Limits`, which exclude each other."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import click

from asyncrev.command.option_types import BYTES, NOT_NEGATIVE_BYTES, SECONDS
from asyncrev.command.units import BYTES_FORMS, SECONDS_FORMS, format_bytes, format_seconds
from asyncrev.errors import SettingsError
from asyncrev.limits import Limits

__all__ = [
    "BYTES_WORKED_ON",
    "LIMIT_OPTIONS",
    "LISTEN",
    "PROCESS",
    "SectionedCommand",
    "limit_options",
    "option",
    "refuse_contradictions",
]

Function = TypeVar("Function", bound=Callable[..., Any])

# Headings in the help, in its order.
LISTEN = "Where to listen"
BYTES_WORKED_ON = "What to do with the bytes"
HOW_MUCH = "How much"
HOW_LONG = "How long"
PROCESS = "The process"
SECTIONS = (LISTEN, BYTES_WORKED_ON, HOW_MUCH, HOW_LONG, PROCESS)
NOTES = {
    HOW_MUCH: f"BYTES are given as {BYTES_FORMS}.",
    HOW_LONG: f"SECONDS are given as {SECONDS_FORMS}.",
}


class _SectionedOption(click.Option):
    def __init__(self, *args: Any, section: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help has its options under headings."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each under its heading; the rest as click does."""
        sections: dict[str, list[tuple[str, str]]] = {name: [] for name in (*SECTIONS, "Other")}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None:
                sections[getattr(parameter, "section", "Other")].append(record)
        for name, records in sections.items():
            with formatter.section(name):
                if name in NOTES:
                    formatter.write_text(NOTES[name])
                    formatter.write_paragraph()
                formatter.write_dl(records)


def option(*names: str, section: str, **settings: Any) -> Callable[[Function], Function]:
    """Declare an option that can also be set by ASYNCREV_<NAME>, in a section of the help."""
    return click.option(
        *names,
        cls=_SectionedOption,
        section=section,
        envvar=_variable(names[0]),
        show_envvar=True,
        show_default=True,
        **settings,
    )


def _variable(name: str) -> str:
    return "ASYNCREV_" + name.lstrip("-").upper().replace("-", "_")


# -- limits ----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class LimitOption:
    """An option that sets a field of `Limits`.

    Attributes:
        field: its name, from which those of option and variable follow; its unit decides the type.
        help: what the help says of it.
        follows: whether its default follows from another setting, so that the help has none.
    """

    field: str
    help: str
    follows: bool = False

    @property
    def name(self) -> str:
        """The option, as it is written on the command line."""
        return "--" + self.field.replace("_", "-")


LIMIT_OPTIONS = (
    LimitOption(
        "max_connections",
        "Open connections at which accepting stops; the kernel's backlog holds the rest.",
    ),
    LimitOption("backlog", "Length of the accept queue."),
    LimitOption("max_frame_bytes", "Longest payload of a frame; a longer one ends its connection."),
    LimitOption(
        "max_reply_bytes",
        "Longest reply to one chunk or frame, if it is longer than that; a longer one is an error "
        "of the processor. By default as --max-frame-bytes; 0 for no bound.",
        follows=True,
    ),
    LimitOption(
        "pool_bytes",
        "What all framed connections together may hold of unfinished frames, and the like.",
    ),
    LimitOption(
        "pool_connection_bytes",
        "The most of the pool for one connection; by default twice what the longest frame needs.",
        follows=True,
    ),
    LimitOption(
        "carry_bytes",
        "Input that each framed connection may have on its way, or hold, without asking the pool.",
    ),
    LimitOption("slots", "Large chunks that the ring holds at once."),
    LimitOption("slot_bytes", "Bytes of a slot, hence of the largest chunk."),
    LimitOption(
        "entries",
        "Chunks that the ring holds at once, small and large; by default four times the slots.",
        follows=True,
    ),
    LimitOption(
        "in_flight_entries",
        "Entries that one connection may have in the ring before it is no longer read.",
    ),
    LimitOption(
        "in_flight_bytes",
        "Bytes that one connection may have in the ring before it is no longer read.",
    ),
    LimitOption(
        "inline_below_bytes",
        "Chunks shorter than this are worked on in the loop, if the processor allows it; 0: none.",
    ),
    LimitOption(
        "high_water_bytes", "Unsent replies of a connection at which it is no longer read."
    ),
    LimitOption(
        "low_water_bytes",
        "Unsent replies at which it is read again; by default a quarter of the high water.",
        follows=True,
    ),
    LimitOption(
        "first_byte_timeout_s",
        "Time in which a new connection must send something; inf for no limit.",
    ),
    LimitOption(
        "idle_timeout_s",
        "Time without input after which a connection that is owed nothing is closed, or inf.",
    ),
    LimitOption(
        "frame_timeout_s",
        "Time in which a frame must be complete, from its first byte, or inf.",
    ),
    LimitOption("tls_handshake_timeout_s", "Time in which a TLS handshake must be complete."),
    LimitOption("write_stall_timeout_s", "Time in which a peer must take some of its replies."),
    LimitOption("drain_timeout_s", "Time that a stop by signal leaves to answer what has arrived."),
    LimitOption(
        "linger_timeout_s",
        "Time that a connection waits, after its last reply, for the peer's end.",
    ),
)


def limit_options(function: Function) -> Function:
    """Declare all of LIMIT_OPTIONS."""
    defaults = Limits()
    for limit in reversed(LIMIT_OPTIONS):
        kind: Any
        default = getattr(defaults, limit.field)
        section, kind = HOW_MUCH, click.INT
        if limit.field.endswith("_s"):
            section, kind, default = HOW_LONG, SECONDS, format_seconds(default)
        elif limit.field.endswith("_bytes"):
            kind, default = BYTES, format_bytes(default)
        if limit.follows:
            # -1 is how `Limits` says so; nobody who writes it here would mean that.
            kind = NOT_NEGATIVE_BYTES if kind is BYTES else click.IntRange(0)
            default = None
        declare = option(limit.name, section=section, type=kind, default=default, help=limit.help)
        function = declare(function)
    return function


# -- contradictions --------------------------------------------------------------------------------

# Each a way to say where to listen: its options, of which any is enough.
_WAYS_TO_LISTEN = (("host", "port"), ("uds",), ("fd",))


def refuse_contradictions(context: click.Context) -> None:
    """Check that options which were given go together; an environment variable counts as given.

    Raises:
        SettingsError: two exclude each other, or one is of no use without another.
    """
    given = [name for way in _WAYS_TO_LISTEN for name in way if _given(context, name)]
    ways = [way for way in _WAYS_TO_LISTEN if set(way) & set(given)]
    if len(ways) > 1:
        names = [_given(context, name) for name in given]
        raise SettingsError(
            f"{', '.join(names[:-1])} and {names[-1]} exclude each other; say where to listen in "
            "one way"
        )
    if _given(context, "uds_mode") and not _given(context, "uds"):
        raise SettingsError(
            f"{_given(context, 'uds_mode')} without --uds; name the UNIX socket, too"
        )
    if _given(context, "ssl_keyfile") and not _given(context, "ssl_certfile"):
        raise SettingsError(
            f"{_given(context, 'ssl_keyfile')} without --ssl-certfile; name the certificate, too"
        )


def _given(context: click.Context, parameter: str) -> str:
    """Return by what name `parameter` was given, or "" if it was not."""
    source = context.get_parameter_source(parameter)
    name = "--" + parameter.replace("_", "-")
    if source is click.core.ParameterSource.COMMANDLINE:
        return name
    if source is click.core.ParameterSource.ENVIRONMENT:
        return f"{_variable(name)} (of the environment)"
    return ""
