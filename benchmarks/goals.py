"""What asyncrev aims at beside each of its peers, and how far it got in a run."""

import dataclasses
import statistics
from typing import Any

from benchmarks.summary import ratios

__all__ = ["GOALS", "Goal", "memory_and_cost", "reached"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """So many times as good as a peer in one scenario; latencies are turned round.

    Attributes:
        ours: which of our servers is meant.
    """

    scenario: str
    peer: str
    times: float
    ours: str = "asyncrev"


_PING_PONG = {"native": 0.7, "uvloop": 1.0, "janus": 2.5, "executor": 4.0}
_BULK = {"native": 0.7, "uvloop": 2.0, "janus": 4.0, "executor": 4.0}
_FRAMES = {"by-hand-uvloop": 2.0, "streams-asyncio": 10.0}
_AIMS = {
    "small50": _PING_PONG,
    "small500": _PING_PONG,
    "kilo50": _PING_PONG,
    "kilo500": _PING_PONG,
    "bulk4": _BULK,
    "bulk1": _BULK,
    "len32": _FRAMES,
    "line": _FRAMES,
}

GOALS = [
    *(
        Goal(scenario=scenario, peer=peer, times=times)
        for scenario, aims in _AIMS.items()
        for peer, times in aims.items()
    ),
    Goal(scenario="latency", peer="uvloop", times=1 / 1.2, ours="asyncrev-inline"),
    Goal(scenario="latency", peer="janus", times=1 / 0.7),
]

# A message beside 10,000 idle connections may cost that many times one beside none.
CROWD_COST = 1.3
IDLE_BYTES = 8 * 1024


def reached(goal: Goal, scenarios: dict[str, Any]) -> float | None:
    """Return how many times as good we were, by the median of the rounds; None if not measured."""
    scenario = scenarios.get(goal.scenario)
    if scenario is None:
        return None
    ours, theirs = (
        scenario["servers"].get(label, {"rounds": []})["rounds"] for label in (goal.ours, goal.peer)
    )
    found = ratios(ours, theirs, scenario["headline"], lower_is_better=scenario["lower_is_better"])
    return statistics.median(found) if found else None


def memory_and_cost(scenarios: dict[str, Any]) -> tuple[float, float] | None:
    """Return the bytes of an idle connection, and the cost of a message beside 10,000 of them.

    The latter as a multiple of that with 50 connections; None if one of them was not measured.
    """
    medians = [
        scenarios.get(name, {}).get("servers", {}).get("asyncrev", {}).get("median", {})
        for name in ("small50", "idle")
    ]
    alone, crowd = (median.get("cpu_us_per_message") for median in medians)
    idle_bytes = medians[1].get("rss_bytes_per_idle")
    if not (alone and crowd and idle_bytes):
        return None
    return idle_bytes, crowd / alone
