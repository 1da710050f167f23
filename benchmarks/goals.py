"""What asyncrev aims at, and how far it got: `python -m benchmarks.goals [RESULTS.json]`."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.scenarios import BULK, LATENCY, PING_PONG
from benchmarks.summary import middle_half, quotients

__all__ = ["BEFORE", "FUNCTION", "GOALS", "NATIVE", "PYTHON", "Goal", "main", "measured", "text"]

RESULTS = Path(__file__).parent / "results" / "full.json"

# Our servers that have goals, and an older installation, which `--server` adds to a run.
NATIVE, PYTHON, FUNCTION = "asyncrev", "asyncrev-python", "asyncrev-function"
BEFORE = "before"

CPU = "cpu_us_per_message"
START_CPU = "start_cpu_ms"
IDLE_BYTES = "rss_bytes_per_idle"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound for a figure of one of our servers, alone or as a multiple of another's.

    Attributes:
        scenario: where it is measured.
        ours: our server.
        figure: which of the figures of a run.
        bound: for the median of the rounds.
        at_most: whether less is better.
        peer: the server that it is divided by, round by round; None: a figure that stands alone.
        peer_scenario: where the peer's figure is measured; None for the same scenario.
        moonshot: a bound that would be better still; None for none.
    """

    scenario: str
    ours: str
    figure: str
    bound: float
    at_most: bool = False
    peer: str | None = None
    peer_scenario: str | None = None
    moonshot: float | None = None

    def is_reached(self, value: float) -> bool:
        """Return whether a median is within the bound."""
        return value <= self.bound if self.at_most else value >= self.bound

    @property
    def compared_with(self) -> str:
        """What it is divided by, for people."""
        elsewhere = f" in {self.peer_scenario}" if self.peer_scenario is not None else ""
        return "" if self.peer is None else self.peer + elsewhere

    @property
    def told_bound(self) -> str:
        """The bound, for people."""
        bound = f"{self.bound / 1024:g} KiB" if self.figure == IDLE_BYTES else f"{self.bound:g}"
        beyond = "" if self.moonshot is None else f" (moonshot {self.moonshot:g})"
        return f"{'≤' if self.at_most else '≥'} {bound}{beyond}"

    def told(self, value: float) -> str:
        """Return a value of the figure, for people."""
        return f"{value / 1024:.1f} KiB" if self.figure == IDLE_BYTES else f"{value:.2f}"


# Scenarios, figure, our server, and the bounds beside each peer.
_RATES: list[tuple[tuple[str, ...], str, str, dict[str, float]]] = [
    (
        ("small50", "kilo50"),
        PING_PONG,
        NATIVE,
        {"native": 0.9, "uvloop": 1.2, "executor": 5.0, "janus": 3.0},
    ),
    (("small50", "kilo50"), PING_PONG, PYTHON, {"native": 0.65, "uvloop": 0.85}),
    (("small500", "kilo500"), PING_PONG, NATIVE, {"native": 0.8, "uvloop": 1.2}),
    (("small500", "kilo500"), PING_PONG, PYTHON, {"native": 0.55}),
    (("bulk4", "bulk1"), BULK, NATIVE, {"native": 0.9, "uvloop": 2.5}),
    (("bulk4", "bulk1"), BULK, PYTHON, {"native": 0.8}),
    (("small50",), PING_PONG, FUNCTION, {"native": 0.85}),
    (("small500",), PING_PONG, FUNCTION, {"native": 0.75}),
    (("len32", "line"), PING_PONG, NATIVE, {"by-hand-uvloop": 4.0}),
    (("len32",), PING_PONG, PYTHON, {"by-hand-uvloop": 2.0}),
    (("line",), PING_PONG, PYTHON, {"by-hand-uvloop": 1.0}),
    (("tls-small50",), PING_PONG, NATIVE, {"uvloop": 1.1}),
    (("tls-bulk4",), BULK, NATIVE, {"uvloop": 1.2}),
]
_MOONSHOTS = {("small500", NATIVE, "native"): 0.95, ("kilo500", NATIVE, "native"): 0.95}


def _at_most(
    scenario: str, ours: str, figure: str, bound: float, peer: str | None = None, **more: Any
) -> Goal:
    return Goal(
        scenario=scenario, ours=ours, figure=figure, bound=bound, at_most=True, peer=peer, **more
    )


GOALS = [
    *(
        Goal(
            scenario=scenario,
            ours=ours,
            figure=figure,
            bound=bound,
            peer=peer,
            moonshot=_MOONSHOTS.get((scenario, ours, peer)),
        )
        for scenarios, figure, ours, bounds in _RATES
        for scenario in scenarios
        for peer, bound in bounds.items()
    ),
    _at_most("latency", NATIVE, LATENCY, 0.6, BEFORE),
    _at_most("latency", PYTHON, LATENCY, 0.8, BEFORE),
    _at_most("latency", NATIVE, LATENCY, 1.1, "uvloop"),
    _at_most("frame50", NATIVE, CPU, 1.15, NATIVE, peer_scenario="small50"),
    _at_most("frame50", PYTHON, CPU, 1.3, PYTHON, peer_scenario="small50"),
    _at_most("idle", NATIVE, CPU, 1.1, NATIVE, peer_scenario="busy100"),
    _at_most("idle", PYTHON, CPU, 1.1, PYTHON, peer_scenario="busy100"),
    _at_most("idle", NATIVE, IDLE_BYTES, 2 * 1024),
    _at_most("idle", PYTHON, IDLE_BYTES, 3 * 1024),
    _at_most("start", NATIVE, START_CPU, 0.5, BEFORE),
]


def measured(goal: Goal, scenarios: dict[str, Any]) -> dict[str, float] | None:
    """Return the median and the middle half of what a goal is about; None if not measured."""
    ours = _rounds(scenarios, goal.scenario, goal.ours)
    if goal.peer is None:
        return middle_half([run[goal.figure] for run in ours if goal.figure in run])
    theirs = _rounds(scenarios, goal.peer_scenario or goal.scenario, goal.peer)
    return middle_half(quotients(ours, theirs, goal.figure))


def _rounds(scenarios: dict[str, Any], scenario: str, label: str) -> list[dict[str, Any]]:
    servers = scenarios.get(scenario, {"servers": {}})["servers"]
    rounds: list[dict[str, Any]] = servers.get(label, {"rounds": []})["rounds"]
    return rounds


def text(results: dict[str, Any]) -> str:
    """Return a line for each goal, and a count."""
    lines = []
    counts = {"reached": 0, "missed": 0, "not measured": 0}
    for goal in GOALS:
        found = measured(goal, results["scenarios"])
        verdict, figure, half = "not measured", "", ""
        if found is not None:
            verdict = "reached" if goal.is_reached(found["median"]) else "missed"
            figure = goal.told(found["median"])
            half = f"({goal.told(found['low'])}..{goal.told(found['high'])})"
        counts[verdict] += 1
        to = f" to {goal.compared_with}" if goal.compared_with else ""
        lines.append(
            f"{verdict:13}{figure:>9} {half:24}{goal.told_bound:23}"
            f"{goal.scenario}: {goal.figure} of {goal.ours}{to}"
        )
    lines.append(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print what was reached; return 2 if there are no results."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.goals",
        description="Say for each goal whether it was reached in a run, and by how much: the "
        "median of the ratios within the rounds, and their middle half.",
        epilog="Those beside an older installation need a server of that name in the run: "
        f"--server '{BEFORE}=COMMAND'",
    )
    parser.add_argument(
        "results",
        type=Path,
        nargs="?",
        default=RESULTS,
        help="what benchmarks.run --json wrote (benchmarks/results/full.json)",
    )
    options = parser.parse_args(arguments)
    try:
        results = json.loads(options.results.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print(f"benchmarks: error: {options.results} cannot be read: {error}", file=sys.stderr)
        return 2
    settings = results["settings"]
    print(f"{results['started']}: {settings['rounds']} rounds of {settings['seconds']:g} s")
    print(text(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
