"""The live figures: what each worker process does per second, and the last ten minutes in short.

Pure: time and answers are arguments. The page at / shows them, and `asyncrev top` their rows.
"""

import collections
import dataclasses
import itertools
import json
import types
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "HISTORY_S",
    "MOST_SAMPLES",
    "PAUSED_BY",
    "QUANTILES",
    "SERIES",
    "History",
    "Rates",
    "ends_of",
    "quantile_s",
    "sums",
]

HISTORY_S = 600
MOST_SAMPLES = 600  # of about 100 bytes each, as JSON

# What a connection waits for that is not read.
PAUSED_BY = ("write", "ring", "pool", "quota", "handshake")

# Quantiles of times in the interval, of which histogram each is, and its share.
QUANTILES: Mapping[str, tuple[str, float]] = {
    "reply_p50_s": ("reply_latency_s", 0.5),
    "reply_p99_s": ("reply_latency_s", 0.99),
    "loop_turn_p99_s": ("loop_turn_s", 0.99),
    "processing_p99_s": ("processing_s", 0.99),
}

# The numbers of a sample, after its time: sums of all workers that answer, and quantiles of all.
_SUMMED = (
    "connections",
    "received_bytes_per_s",
    "replied_bytes_per_s",
    "ring_entries",
    "pool_in_use_bytes",
    "pool_reserved_bytes",
    *(f"paused_{by}" for by in PAUSED_BY),
)
SERIES = (*_SUMMED, *QUANTILES)
LIMITS = ("max_connections", "ring_entries_limit", "pool_limit_bytes")
_RATES = {
    "received_bytes_per_s": "received_bytes",
    "replied_bytes_per_s": "replied_bytes",
    "chunks_per_s": "processed",
    "cpu_cores": "cpu_seconds",
}
_DIGITS = {"cpu_cores": 3}


@dataclasses.dataclass(frozen=True, slots=True)
class _Seen:
    """The counters of one process at one time."""

    at_s: float
    started_s: float | None
    counters: Mapping[str, float]
    histograms: Mapping[str, Mapping[str, Any]]

    def is_followed_by(self, other: "_Seen") -> bool:
        """Whether what has been counted between the two can be told."""
        return self.started_s == other.started_s and self.at_s < other.at_s


class Rates:
    """Makes rows of answers to "statistics", with what was done per second. Thread: one.

    A rate is of the time since the worker's previous answer. It is None after the first one, and
    after the first one of another process in its place. So is a quantile, and where nothing has
    happened in that time, or nothing of it is measured.

    Attributes:
        quantiles: of all workers of the last call of `rows` together.
    """

    def __init__(self) -> None:
        self.quantiles: dict[str, float | None] = dict.fromkeys(QUANTILES)
        self._seen: dict[str, _Seen] = {}
        self._buckets: dict[str, _Buckets] = {}  # of all workers, by histogram

    def rows(self, now_s: float, workers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return a row for each of `workers`, which are those of /stats.json.

        `now_s`: of any clock that is not set back.
        """
        gone = self._seen.keys() - {worker["worker"] for worker in workers}
        for name in gone:
            del self._seen[name]
        self._buckets = {}
        rows = [self._row(now_s, worker) for worker in workers]
        self.quantiles = _quantiles(self._buckets)
        return rows

    def _row(self, now_s: float, worker: Mapping[str, Any]) -> dict[str, Any]:
        name = worker["worker"]
        if not worker["up"]:
            return {"worker": name, "up": False, "why": worker["why"]}
        statistics, process, limits = worker["statistics"], worker["process"], worker["limits"]
        bridge = statistics["bridge"]
        started_s = process["start_time_seconds"]
        counters = {**statistics, **process, "processed": bridge["processed"]}
        now = _Seen(
            now_s,
            started_s,
            {key: counters[key] for key in _RATES.values()},
            worker.get("histograms") or {},
        )
        before, self._seen[name] = self._seen.get(name), now
        buckets = _buckets(before, now)
        for key, found in buckets.items():
            self._buckets[key] = found.joined(self._buckets.get(key))
        return {
            "worker": name,
            "up": True,
            "version": worker["version"],
            "state": "draining" if worker["stopping"] else worker["state"],
            "accepting": worker["accepting"],
            "started_s": started_s,
            "connections": statistics["connections"],
            "max_connections": worker["max_connections"],
            **_rates(before, now),
            **_quantiles(buckets),
            "ring_entries": bridge["published"] - bridge["released"],
            "ring_entries_limit": limits["ring_entries"],
            "pool_in_use_bytes": bridge["pool"]["in_use_bytes"],
            "pool_reserved_bytes": bridge["pool"]["reserved_bytes"],
            "pool_limit_bytes": limits["pool_bytes"],
            **{f"paused_{by}": worker["paused"][by] for by in PAUSED_BY},
            "resident_memory_bytes": process["resident_memory_bytes"],
            "ends": statistics["aborted"],
        }


class History:
    """The samples of the last ten minutes, as JSON, because all are sent at once. Thread: one.

    Samples are named by their times, which grow, whatever the clock does.
    """

    def __init__(self) -> None:
        self._samples: collections.deque[tuple[int, str]] = collections.deque(maxlen=MOST_SAMPLES)

    @property
    def newest_ms(self) -> int:
        """The time of the newest sample, 0 if there is none."""
        return self._samples[-1][0] if self._samples else 0

    def note(
        self,
        at_ms: int,
        rows: Sequence[Mapping[str, Any]],
        quantiles: Mapping[str, float | None] = types.MappingProxyType({}),
    ) -> None:
        """Add the sums of `rows`, and `quantiles`; `at_ms` is a time since the epoch."""
        at_ms = max(at_ms, self.newest_ms + 1)
        found = {**sums(rows), **quantiles}
        self._samples.append((at_ms, json.dumps([at_ms, *(found.get(name) for name in SERIES)])))
        while self._samples[0][0] < at_ms - HISTORY_S * 1000:
            self._samples.popleft()

    def after(self, after_ms: int) -> list[str]:
        """Return the samples that are newer than that of `after_ms`, in their order.

        All of them if `after_ms` is of the future: it is then of another process.
        """
        if after_ms > self.newest_ms:
            after_ms = 0
        newer = []
        for at_ms, sample in reversed(self._samples):
            if at_ms <= after_ms:
                break
            newer.append(sample)
        return newer[::-1]


def sums(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the sum of all rows for each series and limit; None where no row has a number."""
    found: dict[str, float | None] = {}
    for name in (*_SUMMED, *LIMITS):
        numbers = [row[name] for row in rows if row.get(name) is not None]
        found[name] = sum(numbers) if numbers else None
    return found


def ends_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many connections the server has ended, by reason, of all rows."""
    found: dict[str, int] = {}
    for row in rows:
        for reason, number in row.get("ends", {}).items():
            found[reason] = found.get(reason, 0) + number
    return found


def _rates(before: _Seen | None, now: _Seen) -> dict[str, float | None]:
    unknown: dict[str, float | None] = dict.fromkeys(_RATES)
    if before is None or not before.is_followed_by(now):
        return unknown
    passed_s = now.at_s - before.at_s
    return {
        name: round(
            max(0.0, now.counters[key] - before.counters[key]) / passed_s, _DIGITS.get(name)
        )
        for name, key in _RATES.items()
    }


@dataclasses.dataclass(frozen=True, slots=True)
class _Buckets:
    """What a histogram has counted in an interval."""

    bounds_s: tuple[float, ...]
    counts: tuple[float, ...]

    def joined(self, other: "_Buckets | None") -> "_Buckets":
        """Return both together; this one alone if the other has other bounds."""
        if other is None or other.bounds_s != self.bounds_s:
            return self
        counts = (one + more for one, more in zip(self.counts, other.counts, strict=True))
        return _Buckets(self.bounds_s, tuple(counts))


def _buckets(before: _Seen | None, now: _Seen) -> dict[str, _Buckets]:
    found: dict[str, _Buckets] = {}
    if before is None or not before.is_followed_by(now):
        return found
    for key, histogram in now.histograms.items():
        earlier = before.histograms.get(key)
        is_alike = earlier is not None and (
            earlier["bounds_s"] == histogram["bounds_s"]
            and len(earlier["counts"]) == len(histogram["counts"])
        )
        if earlier is not None and is_alike:
            pairs = zip(histogram["counts"], earlier["counts"], strict=True)
            counts = tuple(max(0.0, late - early) for late, early in pairs)
            found[key] = _Buckets(tuple(histogram["bounds_s"]), counts)
    return found


def _quantiles(buckets: Mapping[str, _Buckets]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name, (key, share) in QUANTILES.items():
        of = buckets.get(key)
        found[name] = None if of is None else quantile_s(of.bounds_s, of.counts, share)
    return found


def quantile_s(bounds_s: Sequence[float], counts: Sequence[float], share: float) -> float | None:
    """Return below which time lies `share` of what was counted, or None if nothing was.

    Within a bucket times are taken to be spread evenly, as histogram_quantile of Prometheus does;
    beyond the last bound nothing is known, so that one is returned.

    Args:
        bounds_s: the upper bounds of the buckets, ascending.
        counts: of each bucket, and one more beyond the last bound.
        share: between 0 and 1.
    """
    total = sum(counts)
    if not total:
        return None
    left = share * total
    for (low_s, high_s), count in zip(itertools.pairwise((0.0, *bounds_s)), counts, strict=False):
        if left <= count and count:
            return float(f"{low_s + (high_s - low_s) * left / count:.3g}")
        left -= count
    return bounds_s[-1]
