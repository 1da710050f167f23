"""What is measured: intervals, each with its counts, and how a process's run has ended."""

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["UNIT_NS", "Counts", "Interval", "Outcome", "add_counts", "evenly", "folding", "joined"]

UNIT_NS = 100  # what latencies are counted in; the clock's own calls take about half of it

# Larger values are counted with this many significant bits, which is three digits.
_BITS = 11
_MOST_SAMPLES = 1000
_FOLDED_AT_ONCE = 64  # they take about 20 us

Counts = dict[int, int]  # how often each latency came, in units of 100 ns


@dataclasses.dataclass(slots=True)
class Interval:
    """What happened in a part of the measurement.

    Attributes:
        from_s, to_s: its ends, from the start of the measurement on.
        messages: how many replies came.
        sent_bytes, received_bytes: with prefixes and line ends.
        errors: how many there were.
        cpu_s: processor time of this process.
        latencies: of the replies that came, to messages of the measurement.
        lags: how late this program saw that messages were due; open loop only.
    """

    from_s: float
    to_s: float
    messages: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    errors: int = 0
    cpu_s: float = 0.0
    latencies: Counts = dataclasses.field(default_factory=dict)
    lags: Counts = dataclasses.field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        """How long it is."""
        return self.to_s - self.from_s

    def add(self, other: "Interval") -> None:
        """Add what another process did in the same interval, or what happened in the next one."""
        self.from_s, self.to_s = min(self.from_s, other.from_s), max(self.to_s, other.to_s)
        for name in ("messages", "sent_bytes", "received_bytes", "errors", "cpu_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        add_counts(self.latencies, other.latencies)
        add_counts(self.lags, other.lags)

    def as_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes, for JSON."""
        values = dataclasses.asdict(self)
        for name in ("latencies", "lags"):
            values[name] = list(values[name].items())
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Interval":
        """Return the interval that `as_dict` described."""
        made = cls(**values)
        made.latencies = dict(values["latencies"])
        made.lags = dict(values["lags"])
        return made


@dataclasses.dataclass(slots=True)
class Outcome:
    """How the run of one process, or of all, has ended.

    Attributes:
        late: latencies of messages of the measurement whose replies came after its end; those of
            messages that were due but never sent are counted with the time that they had waited.
        unsent: how many messages were due and never sent, as all earlier ones were in flight.
        errors: how many there were of each kind.
        mismatch: what was wrong with a reply, or None.
        is_interrupted: whether it was told to end before its time.
        cores: how much of a core each process used during the measurement.
    """

    late: Counts = dataclasses.field(default_factory=dict)
    unsent: int = 0
    errors: dict[str, int] = dataclasses.field(default_factory=dict)
    mismatch: str | None = None
    is_interrupted: bool = False
    cores: list[float] = dataclasses.field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Add how another process has ended."""
        add_counts(self.late, other.late)
        self.unsent += other.unsent
        self.errors = dict(collections.Counter(self.errors) + collections.Counter(other.errors))
        self.mismatch = self.mismatch or other.mismatch
        self.is_interrupted = self.is_interrupted or other.is_interrupted
        self.cores += other.cores

    def as_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes, for JSON."""
        return {**dataclasses.asdict(self), "late": list(self.late.items())}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Outcome":
        """Return the outcome that `as_dict` described."""
        made = cls(**values)
        made.late = dict(values["late"])
        return made


def joined(intervals: Mapping[int, Interval]) -> dict[int, Interval]:
    """Return intervals twice as long, each made of two neighbours, which are used up."""
    longer: dict[int, Interval] = {}
    for number, interval in sorted(intervals.items()):
        if number // 2 in longer:
            longer[number // 2].add(interval)
        else:
            longer[number // 2] = interval
    return longer


def add_counts(counts: Counts, more: Counts) -> None:
    """Add `more` to `counts`."""
    for units, times in more.items():
        counts[units] = counts.get(units, 0) + times


def evenly(shortest_ns: int, longest_ns: int, number: int) -> Counts:
    """Return the counts of `number` times that lie evenly between the two, in a bounded time."""
    samples = min(number, _MOST_SAMPLES)
    counts: Counts = {}
    for sample in range(samples):
        between = sample / (samples - 1) if samples > 1 else 0.0
        units = int(shortest_ns + between * (longest_ns - shortest_ns)) // UNIT_NS
        times = number * (sample + 1) // samples - number * sample // samples
        counts[units] = counts.get(units, 0) + times
    return counts


def folding(exact: Counts, into: Counts) -> Iterator[None]:
    """Add `exact` to `into` with three digits of each value, a few at each step.

    So whoever measures is never held up for long; all of it would take milliseconds.
    """
    for at, (units, times) in enumerate(exact.items(), 1):
        shift = max(0, units.bit_length() - _BITS)
        rounded = units >> shift << shift
        into[rounded] = into.get(rounded, 0) + times
        if not at % _FOLDED_AT_ONCE:
            yield
