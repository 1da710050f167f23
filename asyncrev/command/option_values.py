"""Values of the options with their sources, and checks of their combinations.

It does not use click, so that values from elsewhere (a configuration file) get the same checks.
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
        value: the converted value; None if the option was not given and has no default, or a
            default derived from other options (`Option.follows`). A tuple of such values, perhaps
            empty, if the option can be repeated.
        source: where the value comes from.
    """

    option: Option
    value: Any
    source: Source

    @property
    def is_given(self) -> bool:
        """Whether it was given, rather than a default."""
        return self.source is not Source.DEFAULT

    @property
    def origin(self) -> str:
        """The name by which it was given, for messages, or "default"."""
        if self.source is Source.COMMAND_LINE:
            return self.option.flag
        if self.source is Source.ENVIRONMENT:
            return f"{self.option.variable} (of the environment)"
        return "default"


# Advice about options of a group that exclude each other.
_EXCLUSION_HINTS = {LISTENING: "say where to listen in one way"}


def refuse_contradictions(values: Sequence[OptionValue]) -> None:
    """Check that the given options can be combined. Environment variables count as given.

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


# Variables of `native.choice`, of the build, of our own tests and benchmarks, and those that
# Kubernetes sets in every container for a service named asyncrev
# (https://kubernetes.io/docs/concepts/services-networking/service/).
_OTHERS = (
    r"ASYNCREV_(PLANE|BUILD|(TEST|BENCHMARK)_\w+"
    r"|SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)


def warnings_of_variables(names: Iterable[str]) -> list[str]:
    """Return a warning for each environment variable in `names` that only looks like an option's.

    It suggests the nearest option, if one is similar.
    """
    known = {option.variable: option for option in OPTIONS}
    unknown = [name for name in names if name.startswith("ASYNCREV_") and name not in known]
    return [_warning(name, known) for name in sorted(unknown) if not re.fullmatch(_OTHERS, name)]


def _warning(name: str, known: dict[str, Option]) -> str:
    import difflib  # rarely needed

    # Without the prefix, which would make all names similar.
    suffixes = {variable.removeprefix("ASYNCREV_"): option for variable, option in known.items()}
    near = difflib.get_close_matches(name.removeprefix("ASYNCREV_").upper(), suffixes, n=1)
    if not near:
        return f"{name} is ignored: no option of asyncrev serve has that variable"
    option = suffixes[near[0]]
    return f"{name} is ignored: no option has that variable; perhaps {option.variable} was meant"
