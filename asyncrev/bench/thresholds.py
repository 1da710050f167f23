"""Limits that the figures of a run must keep, such as p99<5ms."""

import dataclasses
import operator
import re
from collections.abc import Callable

from asyncrev.bench.figures import PERCENTS, Figures
from asyncrev.errors import SettingsError

__all__ = ["Threshold", "parse_threshold"]

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TIMES = (*PERCENTS, "max", "mean")
_NUMBERS = ("rate", "errors")
_UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[0-9]{1,2})?"
_FORM = re.compile(rf"\s*([a-z][a-z0-9.]*)\s*(<=|>=|<|>)\s*({_NUMBER})\s*([a-z]*)\s*")


@dataclasses.dataclass(frozen=True, slots=True)
class Threshold:
    """One limit.

    Attributes:
        text: as it was given.
        name: which figure it is about.
        relation: how that must be to `limit`.
        limit: in microseconds, messages per second, or errors.
    """

    text: str
    name: str
    relation: str
    limit: float

    def value(self, figures: Figures) -> float:
        """Return the figure that it is about."""
        if self.name == "rate":
            return figures.rate_per_s
        if self.name == "errors":
            return float(figures.errors)
        if self.name == "mean":
            return figures.latencies.mean_us
        return figures.percentiles_us[self.name]

    def is_kept(self, figures: Figures) -> bool:
        """Return whether the figures keep it; without a latency none of one is kept."""
        if self.name in _TIMES and not figures.latencies.count:
            return False
        return _OPERATORS[self.relation](self.value(figures), self.limit)

    def shown_value(self, figures: Figures) -> str:
        """Return the figure as text, with its unit."""
        value = self.value(figures)
        return f"{value / 1000:.3f} ms" if self.name in _TIMES else f"{value:.6g}"


def parse_threshold(text: str) -> Threshold:
    """Return the limit that `text` gives.

    Raises:
        SettingsError: it gives none; the message has the form and the names.
    """
    names = ", ".join((*_TIMES, *_NUMBERS))
    match = _FORM.fullmatch(text)
    if match is None:
        raise SettingsError(
            f"--threshold {text!r} is not of the form 'p99<5ms'; give one of {names}, then <, <=, "
            "> or >=, then a number"
        )
    name, relation, number, unit = match.groups()
    if name in _TIMES:
        if unit not in _UNITS_US:
            raise SettingsError(
                f"--threshold {text!r}: {name} is a time; give it with us, ms or s, as 5ms"
            )
        return Threshold(text, name, relation, float(number) * _UNITS_US[unit])
    if name not in _NUMBERS:
        raise SettingsError(f"--threshold {text!r}: {name!r} is none of {names}")
    if unit:
        raise SettingsError(f"--threshold {text!r}: {name} has no unit, and {unit!r} was given")
    return Threshold(text, name, relation, float(number))
