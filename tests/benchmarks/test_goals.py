"""goals: the targets, and what a run says of them."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import machine, report
from benchmarks.goals import GOALS, Goal, memory_and_cost, reached
from benchmarks.scenarios import SCENARIOS
from benchmarks.servers import SERVERS
from benchmarks.summary import summarise


def run(number: int, **figures: float) -> dict[str, Any]:
    """Return one run as the runner notes it."""
    return {
        "round": number,
        "messages_per_s": 1.0,
        "mib_per_s": 1.0,
        "p50_us": 1.0,
        "p99_us": 2.0,
        "errors": 0,
        **figures,
    }


def small50(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Return a scenario in which asyncrev and uvloop took part, rounds in order."""
    return summarise(
        SCENARIOS["small50"],
        {
            "asyncrev": [run(n, messages_per_s=rate) for n, rate in enumerate(ours)],
            "uvloop": [run(n, messages_per_s=rate) for n, rate in enumerate(theirs)],
        },
        {},
    )


def test_goals_name_scenarios_and_servers_that_exist() -> None:
    """Each once; so no goal is missed for a slip of the pen."""
    assert len({(goal.scenario, goal.peer) for goal in GOALS}) == len(GOALS)
    for goal in GOALS:
        assert goal.scenario in SCENARIOS
        for label in (goal.ours, goal.peer):
            assert SCENARIOS[goal.scenario].framing in SERVERS[label].framings


def test_ratio_is_the_median_of_rounds_that_both_took_part_in() -> None:
    """Not the ratio of the medians; a round with one of them alone does not count."""
    goal = Goal(scenario="small50", peer="uvloop", times=1.0)
    scenario = small50([10, 30, 90, 500], [10, 60, 30])
    assert reached(goal, {"small50": scenario}) == 1.0
    assert reached(goal, {"small50": small50([], [1])}) is None
    assert reached(goal, {}) is None


def test_latency_counts_the_other_way_round() -> None:
    """Half the latency is twice as good."""
    scenario = summarise(
        SCENARIOS["latency"],
        {"asyncrev": [run(0, p50_us=50.0)], "janus": [run(0, p50_us=100.0)]},
        {},
    )
    goal = Goal(scenario="latency", peer="janus", times=1 / 0.7)
    assert reached(goal, {"latency": scenario}) == 2.0


def test_cost_in_a_crowd_is_compared_with_that_of_fifty() -> None:
    """Both must have been measured."""
    alone = summarise(SCENARIOS["small50"], {"asyncrev": [run(0, cpu_us_per_message=8.0)]}, {})
    crowd = summarise(
        SCENARIOS["idle"],
        {"asyncrev": [run(0, cpu_us_per_message=10.0, rss_bytes_per_idle=3072.0)]},
        {},
    )
    assert memory_and_cost({"small50": alone, "idle": crowd}) == (3072.0, 1.25)
    assert memory_and_cost({"idle": crowd}) is None


@pytest.mark.parametrize(("rate", "cell"), [(12.0, "**1.20** of 1"), (9.0, "0.90 of 1")])
def test_page_tells_goals_with_those_reached_in_bold(
    tmp_path: Path, rate: float, cell: str
) -> None:
    """In the short form, for another interpreter's section."""
    results = {
        "machine": machine.describe(),
        "settings": {"rounds": 1, "seconds": 1, "warmup_s": 0.1},
        "started": "2026-01-01T00:00:00",
        "scenarios": {"small50": small50([rate], [10.0])},
    }
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- newest: begin -->\nof last year\n<!-- newest: end -->\n", encoding="utf-8"
    )
    report.put_between_markers(page, report.NEWEST, report.short_markdown(results))
    text = page.read_text(encoding="utf-8")
    assert "last year" not in text
    assert f"| 50 connections, 64 B ping-pong | {cell} |" in text
