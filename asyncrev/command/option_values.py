"""Values of the options, each with its source, and what can be wrong with them together.

Knows nothing of click, so that values from elsewhere (a configuration file) are checked alike.
"""

import dataclasses
import enum
import re
from collections.abc import Iterable, Sequence
from typing import Any

from asyncrev.command.option import LISTENING, Option
from asyncrev.command.options import OPTIONS
from asyncrev.errors import SettingsError

__all__ = ["OptionValue", "Source", "refuse_contradictions", "warnings_of_variables"]


class Source(enum.Enum):
    """Where the value of an option comes from."""

    COMMAND_LINE = "command line"
    ENVIRONMENT = "environment"
    DEFAULT = "default"


@dataclasses.dataclass(frozen=True, slots=True)
class OptionValue:
    """The value of one option.

    Attributes:
        option: its row.
        value: what its type made of the text; None if it was not given and has no default, or one
            that follows from other options (`Option.follows`). A tuple of such values, perhaps
            empty, if the option can be repeated.
        source: where it comes from.
    """

    option: Option
    value: Any
    source: Source

    @property
    def is_given(self) -> bool:
        """Whether somebody gave it."""
        return self.source is not Source.DEFAULT

    @property
    def origin(self) -> str:
        """By what name it was given, for messages; "default" if it was not."""
        if self.source is Source.COMMAND_LINE:
            return self.option.flag
        if self.source is Source.ENVIRONMENT:
            return f"{self.option.variable} (of the environment)"
        return "default"


# What to do about options of a group that exclude each other.
_EXCLUSION_HINTS = {LISTENING: "say where to listen in one way"}


def refuse_contradictions(values: Sequence[OptionValue]) -> None:
    """Check that the options that were given go together. A variable counts as given.

    Raises:
        SettingsError: two exclude each other, or one is useless without another.
    """
    given = {value.option.name: value for value in values if value.is_given}
    excluding = [value for value in given.values() if given.keys() & {*value.option.excludes}]
    if excluding:
        names = [value.origin for value in excluding]
        hint = _EXCLUSION_HINTS.get(excluding[0].option.group, "give one of them")
        raise SettingsError(f"{', '.join(names[:-1])} and {names[-1]} exclude each other; {hint}")
    for value in given.values():
        needs = value.option.needs
        if needs and needs not in given:
            flag = "--" + needs.replace("_", "-")
            raise SettingsError(f"{value.origin} without {flag}; {value.option.needs_hint}")


# Variables of our own tests and benchmarks, and those that Kubernetes sets in every container for a
# service named asyncrev (https://kubernetes.io/docs/concepts/services-networking/service/).
_OTHERS = re.compile(
    r"ASYNCREV_((TEST|BENCHMARK)_\w+|SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)


def warnings_of_variables(names: Iterable[str]) -> list[str]:
    """Return a warning for each of `names`, the environment's, that only looks like an option's.

    It names the nearest option, if one is near.
    """
    known = {option.variable: option for option in OPTIONS}
    unknown = [name for name in names if name.startswith("ASYNCREV_") and name not in known]
    return [_warning(name, known) for name in sorted(unknown) if not _OTHERS.fullmatch(name)]


def _warning(name: str, known: dict[str, Option]) -> str:
    import difflib  # seldom needed

    # Without the prefix, which would make every name like every other.
    suffixes = {variable.removeprefix("ASYNCREV_"): option for variable, option in known.items()}
    near = difflib.get_close_matches(name.removeprefix("ASYNCREV_").upper(), suffixes, n=1)
    if not near:
        return f"{name} is ignored: no option of asyncrev serve has that variable"
    option = suffixes[near[0]]
    return f"{name} is ignored: no option has that variable; perhaps {option.variable} was meant"
