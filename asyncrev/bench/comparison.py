"""Comparison with an earlier run: ratios with their spread.

Theory of operation. Both runs were measured in intervals. The ratio of the means says how much
faster one is; how far it can be trusted is found by resampling: the intervals of both runs are
drawn again, with repetition, many times, and the middle 95 % of the ratios are the spread (the
bootstrap, Efron 1979). If 1 lies within it, the runs do not differ as far as one can see.
"""

import dataclasses
import json
import math
import random
from collections.abc import Sequence
from typing import Any

from asyncrev.bench.figures import FORMAT, Figures
from asyncrev.errors import SettingsError

__all__ = ["Ratio", "compared", "differing_settings", "read_saved"]

_NAMES = ("rate", "p50", "p90", "p99")
_LEAST_INTERVALS = 3
_RESAMPLES = 2000
_SEED = 1  # the same runs give the same spread

# They say where or how, not what was asked of the server.
_MAY_DIFFER = ("host", "port", "path", "timeout_s", "ca_certs", "server_hostname", "insecure")


@dataclasses.dataclass(frozen=True, slots=True)
class Ratio:
    """How a figure of this run is to the one of the earlier run.

    Attributes:
        name: "rate" or a percentile's.
        ratio: this run's by the earlier one's.
        low, high: between which it lies with 95 % probability; None if there were too few
            intervals.
    """

    name: str
    ratio: float
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """What it means, in words."""
        if self.low is None or self.high is None:
            return "too few intervals for a spread"
        if self.low <= 1 <= self.high:
            return "no difference seen"
        is_more = self.ratio > 1
        if self.name == "rate":
            return "faster" if is_more else "slower"
        return "longer" if is_more else "shorter"

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        spread = None if self.low is None or self.high is None else [self.low, self.high]
        return {"ratio": self.ratio, "spread": spread, "verdict": self.verdict}


def read_saved(path: str) -> dict[str, Any]:
    """Return the document that --save has written to `path`.

    Raises:
        SettingsError: it cannot be read, or is another file.
    """
    try:
        with open(path, encoding="utf-8") as file:
            saved = json.load(file)
    except OSError as error:
        raise SettingsError(f"--compare {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise SettingsError(f"--compare {path} is no JSON: {error}") from None
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        found = saved.get("format") if isinstance(saved, dict) else type(saved).__name__
        raise SettingsError(
            f"--compare {path}: its format is {found!r}, and must be {FORMAT}; give a file that "
            "asyncrev bench has written with --save or --json"
        )
    try:
        for name in _NAMES:
            _saved_values(saved, name)
        dict(saved["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(
            f"--compare {path}: {error!r}; a field is missing or wrong in it"
        ) from None
    return saved


def compared(figures: Figures, saved: dict[str, Any]) -> list[Ratio]:
    """Return the ratios of this run to a saved one; figures that either lacks are left out."""
    source = random.Random(_SEED)
    found = []
    for name in _NAMES:
        new, old = figures.interval_values(name), _saved_values(saved, name)
        if not new or not old or not sum(old) or not sum(new):
            continue
        found.append(_ratio(name, new, old, source))
    return found


def differing_settings(figures: Figures, saved: dict[str, Any]) -> list[str]:
    """Return what was not the same in both runs, as "size_bytes 64 and 128"."""
    new, old = figures.plan.as_dict(), saved["settings"]
    names = [name for name in new if name not in _MAY_DIFFER and new[name] != old.get(name)]
    return [f"{name} {old.get(name)} and {new[name]}" for name in names]


def _saved_values(saved: dict[str, Any], name: str) -> list[float]:
    intervals = saved["intervals"]
    if name == "rate":
        values = [float(one["messages_per_s"]) for one in intervals]
    else:
        values = [float(one["latency_us"][name]) for one in intervals if one["messages"]]
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"{name} of an interval is no finite number")
    return values


def _ratio(name: str, new: Sequence[float], old: Sequence[float], source: random.Random) -> Ratio:
    ratio = _mean(new) / _mean(old)
    if min(len(new), len(old)) < _LEAST_INTERVALS:
        return Ratio(name, ratio, None, None)
    drawn = []
    for _ in range(_RESAMPLES):
        below = _mean(source.choices(old, k=len(old)))
        if below:
            drawn.append(_mean(source.choices(new, k=len(new))) / below)
    drawn.sort()
    at = len(drawn) // 40  # 2.5 % on each side
    return Ratio(name, ratio, drawn[at], drawn[-1 - at])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
