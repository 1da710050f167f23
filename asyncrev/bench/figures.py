"""The figures of a run: what its intervals add up to, and the verdict on the client."""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from asyncrev.bench.latencies import Latencies
from asyncrev.bench.measurement import Interval, Outcome
from asyncrev.bench.plan import Plan

__all__ = ["FORMAT", "PERCENTS", "Figures"]

FORMAT = 1  # of the JSON document; it changes when a field is renamed or means something else

PERCENTS = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}

# A client that is busier than this, or later, measures itself. k6's own pages publish figures of
# saturated generators (https://github.com/grafana/k6/issues/2837).
MOST_CORES = 0.9  # of one core, per process
MOST_LAG_P99_US = 1000.0


@dataclasses.dataclass(slots=True)
class _Row:
    """An interval with what is shown of its latencies."""

    interval: Interval
    latencies: Latencies


class Figures:
    """Everything that is reported of a run. Thread: any.

    Attributes:
        plan, outcome: what was asked for, and how it ended.
        latencies: of all messages of the measurement, those that were answered after its end too.
        lags: how late this program saw that messages were due; empty in a closed loop.
        duration_s: how long was measured.
        messages, sent_bytes, received_bytes: what was exchanged then.
    """

    def __init__(self, plan: Plan, intervals: Sequence[Interval], outcome: Outcome) -> None:
        """Add up `intervals`, which are in order."""
        self.plan, self.outcome = plan, outcome
        self.latencies, self.lags = Latencies(), Latencies()
        self._rows = []
        for interval in intervals:
            latencies = Latencies()
            latencies.add_counts(interval.latencies)
            self.latencies.add(latencies)
            self.lags.add_counts(interval.lags)
            self._rows.append(_Row(interval, latencies))
        self.latencies.add_counts(outcome.late)
        self.duration_s = sum(interval.duration_s for interval in intervals)
        self.messages = sum(interval.messages for interval in intervals)
        self.sent_bytes = sum(interval.sent_bytes for interval in intervals)
        self.received_bytes = sum(interval.received_bytes for interval in intervals)

    @property
    def rate_per_s(self) -> float:
        """Replies per second."""
        return self.messages / self.duration_s if self.duration_s else 0.0

    @property
    def errors(self) -> int:
        """How many errors there were of all kinds."""
        return sum(self.outcome.errors.values())

    @property
    def percentiles_us(self) -> dict[str, float]:
        """The percentiles that are shown, and the largest, by their names."""
        found = {name: self.latencies.percentile_us(percent) for name, percent in PERCENTS.items()}
        return {**found, "max": self.latencies.max_us}

    @property
    def bottleneck(self) -> str | None:
        """Why the figures say more about the client than about the server, or None."""
        reasons = []
        busiest = max(self.outcome.cores, default=0.0)
        if busiest > MOST_CORES:
            reasons.append(
                f"{'a process of it' if self.plan.processes > 1 else 'it'} used "
                f"{100 * busiest:.0f} % of a core, more than {100 * MOST_CORES:.0f} %"
            )
        lag_us = self.lags.percentile_us(99.0)
        if lag_us > MOST_LAG_P99_US:
            reasons.append(
                f"1 of 100 messages was sent {lag_us / 1000:.1f} ms late, more than "
                f"{MOST_LAG_P99_US / 1000:g} ms"
            )
        return " and ".join(reasons) or None

    def interval_values(self, name: str) -> list[float]:
        """Return a figure of each interval: "rate", or a percentile's name in microseconds."""
        if name == "rate":
            return [row.interval.messages / row.interval.duration_s for row in self._rows]
        percent = PERCENTS[name]
        return [row.latencies.percentile_us(percent) for row in self._rows if row.latencies.count]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON document; docs/howto/load-test.md describes its fields."""
        outcome = self.outcome
        rates = self.interval_values("rate")
        return {
            "format": FORMAT,
            "target": self.plan.target,
            "settings": self.plan.as_dict(),
            "duration_s": round(self.duration_s, 6),
            "messages": self.messages,
            "messages_per_s": round(self.rate_per_s, 3),
            "messages_per_s_stdev": round(statistics.stdev(rates), 3) if len(rates) > 1 else None,
            "sent_bytes": self.sent_bytes,
            "received_bytes": self.received_bytes,
            "latency_us": {
                "count": self.latencies.count,
                "mean": round(self.latencies.mean_us, 3),
                **{name: round(value, 3) for name, value in self.percentiles_us.items()},
            },
            "send_lag_p99_us": (
                round(self.lags.percentile_us(99.0), 3) if self.lags.count else None
            ),
            "unsent": outcome.unsent,
            "errors": dict(sorted(outcome.errors.items())),
            "mismatch": outcome.mismatch,
            "interrupted": outcome.is_interrupted,
            "client_cores": [round(cores, 4) for cores in outcome.cores],
            "bottleneck": self.bottleneck,
            "intervals": [_interval(row) for row in self._rows],
            "histogram": self.latencies.encoded(),
        }

    def percentile_curve(self) -> list[tuple[float, float]]:
        """Return pairs of percent and microseconds, denser towards 100 percent."""
        if not self.latencies.count:
            return []
        nines = [100.0 * (1 - 10 ** (-step / 10)) for step in range(61)]
        most = 100.0 * (1 - 1 / max(2, self.latencies.count))
        curve = [(p, self.latencies.percentile_us(p)) for p in nines if p <= most]
        return curve or [(50.0, self.latencies.percentile_us(50.0))]


def _interval(row: _Row) -> dict[str, Any]:
    interval, latencies = row.interval, row.latencies
    return {
        "from_s": round(interval.from_s, 6),
        "to_s": round(interval.to_s, 6),
        "messages": interval.messages,
        "messages_per_s": round(interval.messages / interval.duration_s, 3),
        "received_bytes": interval.received_bytes,
        "errors": interval.errors,
        "client_cores": round(interval.cpu_s / interval.duration_s, 4),
        "latency_us": {
            **{name: round(latencies.percentile_us(p), 3) for name, p in PERCENTS.items()},
            "max": round(latencies.max_us, 3),
        },
    }
