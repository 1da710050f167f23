"""Latencies: counts in an HDR histogram, which has three significant digits of each."""

from collections.abc import Mapping

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from asyncrev.bench.measurement import UNIT_NS

__all__ = ["Latencies"]

_MOST_UNITS = 24 * 3600 * 10_000_000  # a day
_DIGITS = 3


class Latencies:
    """A number of latencies. Thread: one at a time."""

    __slots__ = ("_histogram",)

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, _MOST_UNITS, _DIGITS)

    def add_counts(self, counts: Mapping[int, int]) -> None:
        """Add how often each value came, in units of 100 ns; those below 0 count as 0."""
        for units, times in counts.items():
            self._histogram.record_value(min(max(units, 0), _MOST_UNITS), times)

    def add(self, other: "Latencies") -> None:
        """Add all that `other` has."""
        if other.count:
            self._histogram.add(other._histogram)

    def encoded(self) -> str:
        """Return all as text in the format of HdrHistogram, version 2, in units of 100 ns."""
        return str(self._histogram.encode().decode("ascii"))

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._histogram.get_total_count())

    @property
    def max_us(self) -> float:
        """The largest, rounded up to three digits; 0 if there are none."""
        return self._us(self._histogram.get_max_value()) if self.count else 0.0

    @property
    def mean_us(self) -> float:
        """Their mean; 0 if there are none."""
        return self._us(self._histogram.get_mean_value()) if self.count else 0.0

    def percentile_us(self, percent: float) -> float:
        """Return the value that so many percent are not above; 0 if there are none."""
        return self._us(self._histogram.get_value_at_percentile(percent)) if self.count else 0.0

    @staticmethod
    def _us(units: float) -> float:
        return float(units) * UNIT_NS / 1000
