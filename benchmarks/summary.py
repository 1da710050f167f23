"""From single runs to medians and ratios."""

import statistics
from typing import Any

from benchmarks.scenarios import Scenario

__all__ = [
    "REFERENCES",
    "SCHEMA_VERSION",
    "digest",
    "middle_half",
    "quotients",
    "ratios",
    "reference_of",
    "summarise",
]

SCHEMA_VERSION = 2  # 1: low and high were the extremes; servers were started for each turn

# What others are compared with: what the machine can do, else what one would write by hand.
REFERENCES = ("native", "by-hand-uvloop", "asyncio")

MEDIANS = (
    "messages_per_s",
    "mib_per_s",
    "p50_us",
    "p90_us",
    "p99_us",
    "p999_us",
    "cpu_us_per_message",
    "server_cores",
    "client_cores",
    "server_rss_bytes",
    "rss_bytes_per_idle",
    "start_ms",
    "start_cpu_ms",
    "lag_p99_us",
    "entries_per_batch",
    "worker_wakes_per_message",
    "loop_wakes_per_message",
    "deliveries_per_message",
    "overflows_per_entry",
)

Runs = list[dict[str, Any]]


def reference_of(labels: list[str]) -> str | None:
    """Return which of the servers the others are compared with."""
    return next((label for label in REFERENCES if label in labels), None)


def digest(looks: list[Any], from_s: float, to_s: float) -> dict[str, Any]:
    """Return what a server's own notes say of the time that was measured.

    See `LagProbe.looks`. Counters are the growth from the first look in that time to the last.
    """
    within = [look for look in looks if from_s <= look[0] <= to_s]
    if not within:
        return {}
    lags_us = sorted(lag_us for _, lag_us, _ in within)
    told: dict[str, Any] = {
        "loop_lag_p50_us": _percentile(lags_us, 0.5),
        "loop_lag_p99_us": _percentile(lags_us, 0.99),
        "loop_lag_max_us": lags_us[-1],
    }
    first, last = within[0][2], within[-1][2]
    if first is not None:
        told["counted_s"] = within[-1][0] - within[0][0]
        for name, value in last.items():
            told[name] = value - first[name]
    return told


def with_derived(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run with the figures that follow from what its server told of itself."""
    told = run.get("told", {})
    derived = {}
    if told:
        derived["lag_p99_us"] = told["loop_lag_p99_us"]
    if told.get("batches"):
        messages = max(1.0, run["messages_per_s"] * told["counted_s"])
        derived["entries_per_batch"] = told["entries"] / told["batches"]
        derived["worker_wakes_per_message"] = told["worker_wakes"] / messages
        derived["loop_wakes_per_message"] = told["loop_wakes"] / messages
        derived["deliveries_per_message"] = told["loop_deliveries"] / messages
        derived["overflows_per_entry"] = told["overflows"] / max(1, told["entries"])
        derived["backstop_wakes"] = told["backstop_wakes"]
    return {**run, **derived}


def _kept(run: dict[str, Any]) -> dict[str, Any]:
    """Return what of a run is worth keeping; what its server noted is in the derived figures."""
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value
        for name, value in run.items()
        if name not in ("told", "from_s", "to_s")
    }


def quotients(ours: Runs, theirs: Runs, figure: str) -> list[float]:
    """Return our figure by theirs in each round in which both have one."""
    base = {run["round"]: run.get(figure, 0) for run in theirs}
    found = []
    for run in ours:
        our_figure, their_figure = run.get(figure, 0), base.get(run["round"], 0)
        if our_figure and their_figure:
            found.append(our_figure / their_figure)
    return found


def ratios(ours: Runs, theirs: Runs, headline: str, *, lower_is_better: bool) -> list[float]:
    """Return how many times as good we were in each round that both took part in."""
    return (
        quotients(theirs, ours, headline) if lower_is_better else quotients(ours, theirs, headline)
    )


def summarise(
    scenario: Scenario,
    runs: dict[str, Runs],
    failures: dict[str, list[str]],
    reference: str | None = None,
) -> Any:
    """Return what is known of one scenario, per server; JSON can hold it.

    `reference`: the server that the others are compared with; None for that of `reference_of`.

    A ratio is taken within each round, against the reference in that round, and the median is of
    these: so what a shared machine does from minute to minute falls out. More is better.
    """
    runs = {label: [with_derived(run) for run in of_label] for label, of_label in runs.items()}
    ran = [label for label in runs if runs[label]]
    reference = reference if reference in ran else reference_of(ran)
    headline = scenario.headline
    servers = {}
    for label, of_label in runs.items():
        against = runs[reference] if reference is not None else []
        to_reference = ratios(of_label, against, headline, lower_is_better=scenario.lower_is_better)
        servers[label] = {
            "median": _medians(of_label),
            "spread": middle_half([run[headline] for run in of_label]),
            "ratio": middle_half(to_reference),
            "cpu": middle_half(_known(of_label, "cpu_us_per_message")),
            "errors": sum(run["errors"] for run in of_label),
            "failures": failures.get(label, []),
            "rounds": [_kept(run) for run in of_label],
        }
    return {
        "title": scenario.title,
        "headline": headline,
        "lower_is_better": scenario.lower_is_better,
        "framing": scenario.framing,
        "tls": scenario.tls,
        "connections": scenario.connections,
        "idle": scenario.idle,
        "size_bytes": scenario.size_bytes,
        "depth": scenario.depth,
        "reference": reference,
        "servers": servers,
    }


def middle_half(values: list[float]) -> dict[str, float] | None:
    """Return the median, and where the middle half of the values begins and ends."""
    if not values:
        return None
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return {
        "low": ordered[quarter],
        "median": statistics.median(ordered),
        "high": ordered[-1 - quarter],
    }


def _medians(runs: Runs) -> dict[str, float]:
    values = {name: _known(runs, name) for name in MEDIANS}
    return {name: statistics.median(found) for name, found in values.items() if found}


def _known(runs: Runs, name: str) -> list[float]:
    return [run[name] for run in runs if name in run]


def _percentile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
