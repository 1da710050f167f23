"""Values of the options with their sources, and checks of their combinations.

A source of a lower rank yields: a value that excludes, or is excluded by, one of a higher rank is
as if it were not given. Two of the same rank contradict each other.

It does not use click, so that values of a configuration file get the same checks.
"""

import dataclasses
import enum
import re
from collections.abc import Iterable, Sequence
from typing import Any

from asyncrev.command.option import LISTENING, Option
from asyncrev.command.option_types import converted
from asyncrev.command.options import OPTIONS
from asyncrev.errors import SettingsError

__all__ = [
    "OptionValue",
    "Source",
    "contradictions",
    "default_of",
    "refuse_contradictions",
    "warnings_of_variables",
    "without_yielding",
]


class Source(enum.Enum):
    """Where the value of an option comes from."""

    COMMAND_LINE = "command line"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"

    @property
    def rank(self) -> int:
        """A higher rank takes precedence."""
        return _RANKS[self]


_RANKS = {Source.COMMAND_LINE: 3, Source.ENVIRONMENT: 2, Source.FILE: 1, Source.DEFAULT: 0}


@dataclasses.dataclass(frozen=True, slots=True)
class OptionValue:
    """The value of one option.

    Attributes:
        option: its row.
        value: the converted value; None if the option was not given and has no default, or a
            default derived from other options (`Option.follows`). A tuple of such values, perhaps
            empty, if the option can be repeated.
        source: where the value comes from.
        line: "asyncrev.toml:3" if it comes from a file; without a number if the line is not known.
        yielded: of a default, the value that was given and does not count, or None.
        yields_to: where the value was given to which that one yields.
    """

    option: Option
    value: Any
    source: Source
    line: str = ""
    yielded: "OptionValue | None" = None
    yields_to: str = ""

    @property
    def is_given(self) -> bool:
        """Whether it was given, rather than a default."""
        return self.source is not Source.DEFAULT

    @property
    def origin(self) -> str:
        """The name by which it was given, for messages, or "default"."""
        if self.source is Source.ENVIRONMENT:
            return f"{self.option.variable} (of the environment)"
        if self.source is Source.FILE:
            return f"{self.option.name} ({self.line})"
        return self.place

    @property
    def place(self) -> str:
        """Where it was given: --port, ASYNCREV_PORT, asyncrev.toml:3, or "default"."""
        if self.source is Source.COMMAND_LINE:
            return self.option.flag
        if self.source is Source.ENVIRONMENT:
            return self.option.variable
        return self.line if self.source is Source.FILE else "default"


def default_of(option: Option) -> OptionValue:
    """Return the default of `option`, converted."""
    value: Any = () if option.repeatable else option.default
    if option.default is not None:
        value = converted(option.type, option.default)
    return OptionValue(option, value, Source.DEFAULT)


def without_yielding(values: Sequence[OptionValue]) -> list[OptionValue]:
    """Return `values`, with the default for each that yields to one of a higher rank.

    What needs an option whose value has yielded yields with it, unless its rank is as high as that
    of the value which took precedence.
    """
    given = {value.option.name: value for value in values if value.is_given}
    above: dict[str, OptionValue] = {}  # what the value of this name yields to
    for value in sorted(given.values(), key=lambda value: value.source.rank, reverse=True):
        rivals = [given[name] for name in value.option.excludes if name in given.keys() - above]
        first = max(rivals, key=lambda rival: rival.source.rank, default=value)
        if first.source.rank > value.source.rank:
            above[value.option.name] = first
    for name, value in given.items():
        of_needed = above.get(value.option.needs)
        if of_needed is not None and of_needed.source.rank > value.source.rank:
            above[name] = of_needed
    return [_yielding(v, above[v.option.name]) if v.option.name in above else v for v in values]


def _yielding(value: OptionValue, above: OptionValue) -> OptionValue:
    default = default_of(value.option)
    return dataclasses.replace(default, yielded=value, yields_to=above.place)


# Advice about options of a group that exclude each other.
_EXCLUSION_HINTS = {LISTENING: "say where to listen in one way"}


def refuse_contradictions(values: Sequence[OptionValue]) -> None:
    """Check that the given options can be combined. Values of the environment or a file count.

    Raises:
        SettingsError: two exclude each other, or one is useless without another.
    """
    for message, _ in contradictions(values):
        raise SettingsError(message)


def contradictions(values: Sequence[OptionValue]) -> list[tuple[str, list[OptionValue]]]:
    """Return what is wrong with the combination of the given options: messages, with who is."""
    given = {value.option.name: value for value in values if value.is_given}
    mistakes = []
    excluding = [value for value in given.values() if given.keys() & {*value.option.excludes}]
    if excluding:
        names = [value.origin for value in excluding]
        hint = _EXCLUSION_HINTS.get(excluding[0].option.group, "give one of them")
        message = f"{', '.join(names[:-1])} and {names[-1]} exclude each other; {hint}"
        mistakes.append((message, excluding))
    for value in given.values():
        needs = value.option.needs
        if needs and needs not in given:
            wanted = needs if value.source is Source.FILE else "--" + needs.replace("_", "-")
            mistakes.append(
                (f"{value.origin} without {wanted}; {value.option.needs_hint}", [value])
            )
    return mistakes


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
