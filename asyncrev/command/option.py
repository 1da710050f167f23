"""A row of the table of options, and the headings that group the rows."""

import dataclasses
import enum
from typing import Any

import click

from asyncrev.command.units import BYTES_FORMS, SECONDS_FORMS

__all__ = [
    "CONNECTIONS",
    "GROUPS",
    "GROUP_NOTES",
    "LISTENING",
    "LOG",
    "PROCESSING",
    "REPLIES",
    "RING",
    "TABLES",
    "TIMEOUTS",
    "Option",
    "Said",
]

# Headings of the help and of the reference, in order; at most seven.
LISTENING = "Listening and TLS"
PROCESSING = "Processing"
RING = "Ring"
CONNECTIONS = "Connections and frames"
REPLIES = "Replies"
TIMEOUTS = "Timeouts"
LOG = "Log and help"
GROUPS = (LISTENING, PROCESSING, RING, CONNECTIONS, REPLIES, TIMEOUTS, LOG)
GROUP_NOTES = {
    PROCESSING: f"BYTES here and below: {BYTES_FORMS}.",
    TIMEOUTS: f"SECONDS: {SECONDS_FORMS}.",
}

# Tables of the configuration file, in order.
TABLES = ("serve", "limits", "log", "admin")


class Said(enum.Enum):
    """When the start line contains the value of an option."""

    NEVER = "never"
    ALWAYS = "always"
    FRAMED = "with a framing other than raw"
    ADDRESS = "as a part of the address"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A row of the table.

    Attributes:
        name: as in Python; the flag and the environment variable are derived from it.
        type: click's type, which converts text to a value, whatever the source of the text.
        default: the default, as text that `type` takes or as a value; None if there is none.
        follows: in words, what the default is derived from, if it depends on other options.
        help: one to three sentences.
        metavar: the placeholder for the value in the help; "" for the name of the type.
        group: the heading in the help, one of `GROUPS`.
        sets: the setting, as a path from `ServeSettings`: "limits.slots", "host"; "" for an option
            about the options, which cannot be in a configuration file.
        excludes: names of the options that cannot be given with it.
        needs: the name of an option that must be given with it, or "".
        needs_hint: advice in the error message if that option is missing.
        repeatable: whether it can be given several times; its value is then a tuple. Its type
            says what separates the values in an environment variable.
        once: whether giving it twice is refused; else the last value counts.
        said: when the start line contains it, under its own name.
    """

    name: str
    type: "click.ParamType[Any]"  # a string: not generic before click 8.4
    help: str
    group: str
    sets: str
    default: Any = None
    follows: str = ""
    metavar: str = ""
    excludes: tuple[str, ...] = ()
    needs: str = ""
    needs_hint: str = ""
    repeatable: bool = False
    once: bool = False
    said: Said = Said.NEVER

    @property
    def flag(self) -> str:
        """The option as written on the command line: --slot-bytes."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable that sets it: ASYNCREV_SLOT_BYTES."""
        return "ASYNCREV_" + self.name.upper()

    @property
    def limit(self) -> str:
        """The field of `Limits` that it sets, or ""."""
        prefix, dot, field = self.sets.partition(".")
        return field if dot and prefix == "limits" else ""

    @property
    def table(self) -> str:
        """The table of the configuration file that it belongs to, one of `TABLES`, or ""."""
        if not self.sets:
            return ""
        if self.limit:
            return "limits"
        if self.name == "admin" or self.name.startswith("admin_"):
            return "admin"
        return "log" if self.group == LOG else "serve"

    @property
    def placeholder(self) -> str:
        """The placeholder for the value in the help."""
        if self.metavar:
            return self.metavar
        if isinstance(self.type, click.Choice):
            return f"[{'|'.join(self.type.choices)}]"
        return "N" if isinstance(self.type, type(click.INT)) else self.type.name.upper()

    @property
    def shown_default(self) -> str:
        """The default as shown in the help, or "" if the option has none."""
        return self.follows or ("" if self.default is None else str(self.default))
