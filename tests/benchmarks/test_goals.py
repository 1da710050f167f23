"""goals: the targets, and what a run says of them."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import goals, machine, report
from benchmarks.goals import BEFORE, GOALS, NATIVE, PYTHON, Goal, measured
from benchmarks.scenarios import FULL, SCENARIOS
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
        "client_cores": 0.5,
        "cpu_us_per_message": 1.0,
        "errors": 0,
        **figures,
    }


def scenario(name: str, **of_servers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a scenario in which servers took part; their names have `_` for `-`."""
    runs = {label.replace("_", "-"): of_label for label, of_label in of_servers.items()}
    return summarise(SCENARIOS[name], runs, {})


def small50(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Return a scenario in which asyncrev and uvloop took part, rounds in order."""
    return scenario(
        "small50",
        asyncrev=[run(n, messages_per_s=rate) for n, rate in enumerate(ours)],
        uvloop=[run(n, messages_per_s=rate) for n, rate in enumerate(theirs)],
    )


def the_goal(scenario: str, ours: str, peer: str | None) -> Goal:
    """Return the one goal for these."""
    (found,) = (g for g in GOALS if (g.scenario, g.ours, g.peer) == (scenario, ours, peer))
    return found


def test_goals_name_scenarios_and_servers_that_a_full_run_has() -> None:
    """Each once; so no goal is missed for a slip of the pen. An older installation is added."""
    keys = [(g.scenario, g.ours, g.figure, g.peer) for g in GOALS]
    assert len(set(keys)) == len(keys)
    for goal in GOALS:
        for name in (goal.scenario, goal.peer_scenario or goal.scenario):
            assert name in FULL
        wanted = SCENARIOS[goal.scenario].servers
        for label in (goal.ours, goal.peer or goal.ours):
            if label != BEFORE:
                assert SERVERS[label].can(SCENARIOS[goal.scenario])
                assert wanted is None or label in wanted


def test_every_target_has_its_goals() -> None:
    """The table of targets, by scenario: how many bounds for asyncrev and for its Python plane."""
    counts: dict[str, list[int]] = {}
    for goal in GOALS:
        counts.setdefault(goal.scenario, [0, 0])[goal.ours == PYTHON] += 1
    assert counts == {
        "small50": [5, 2],  # with a function as processor
        "kilo50": [4, 2],
        "small500": [3, 1],
        "kilo500": [2, 1],
        "bulk4": [2, 1],
        "bulk1": [2, 1],
        "latency": [2, 1],
        "len32": [1, 1],
        "line": [1, 1],
        "frame50": [1, 1],
        "idle": [2, 2],  # CPU time, and memory
        "tls-small50": [1, 0],
        "tls-bulk4": [1, 0],
        "start": [1, 0],
    }


def test_ratio_is_the_median_of_rounds_that_both_took_part_in() -> None:
    """Not the ratio of the medians; a round with one of them alone does not count."""
    goal = the_goal("small50", NATIVE, "uvloop")
    found = measured(goal, {"small50": small50([10, 30, 90, 500], [10, 60, 30])})
    assert found == {"low": 0.5, "median": 1.0, "high": 3.0}
    assert measured(goal, {"small50": small50([], [1])}) is None
    assert measured(goal, {}) is None


def test_time_is_within_its_bound_when_it_is_less() -> None:
    """A p50 of 0.5 of before is better than the target of 0.6, and 0.7 is not."""
    goal = the_goal("latency", NATIVE, BEFORE)
    found = measured(
        goal,
        {
            "latency": scenario(
                "latency", asyncrev=[run(0, p50_us=50.0)], before=[run(0, p50_us=100)]
            )
        },
    )
    assert found is not None
    assert found["median"] == 0.5
    assert goal.is_reached(0.6)
    assert not goal.is_reached(0.61)
    assert not dataclasses.replace(goal, at_most=False).is_reached(0.59)


def test_cost_in_a_crowd_is_compared_with_that_alone_round_by_round() -> None:
    """Both must have been measured in a round."""
    goal = the_goal_of_cpu("idle", PYTHON)
    alone = [run(n, cpu_us_per_message=cost) for n, cost in enumerate((8.0, 16.0, 4.0))]
    crowd = [run(n, cpu_us_per_message=cost) for n, cost in enumerate((10.0, 20.0))]
    both = {
        "busy100": scenario("busy100", asyncrev_python=alone),
        "idle": scenario("idle", asyncrev_python=crowd),
    }
    assert measured(goal, both) == {"low": 1.25, "median": 1.25, "high": 1.25}
    assert measured(goal, {"idle": both["idle"]}) is None


def the_goal_of_cpu(scenario: str, ours: str) -> Goal:
    """Return the goal for CPU time there."""
    (found,) = (g for g in GOALS if (g.scenario, g.ours, g.figure) == (scenario, ours, goals.CPU))
    return found


def test_memory_stands_alone_and_is_told_in_kib() -> None:
    """An idle connection's is compared with no one's."""
    goal = the_goal("idle", NATIVE, None)
    idle = {"idle": scenario("idle", asyncrev=[run(0, rss_bytes_per_idle=1536.0)])}
    found = measured(goal, idle)
    assert found is not None
    assert (goal.told(found["median"]), goal.told_bound) == ("1.5 KiB", "≤ 2 KiB")
    assert goal.is_reached(found["median"])


def results_of(scenarios: dict[str, Any]) -> dict[str, Any]:
    """Return results as the runner writes them."""
    return {
        "machine": machine.describe(),
        "settings": {"rounds": 1, "seconds": 1, "warmup_s": 0.1},
        "started": "2026-01-01T00:00:00",
        "scenarios": scenarios,
    }


def test_command_tells_each_goal_and_counts_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reached, missed and not measured."""
    path = tmp_path / "results.json"
    both = scenario(
        "small50",
        asyncrev=[run(0, messages_per_s=12.0)],
        uvloop=[run(0, messages_per_s=10.0)],
        native=[run(0, messages_per_s=20.0)],
    )
    path.write_text(json.dumps(results_of({"small50": both})), encoding="utf-8")
    assert goals.main([str(path)]) == 0
    _, *lines, count = capsys.readouterr().out.splitlines()
    assert len(lines) == len(GOALS)
    words = [" ".join(line.split()) for line in lines]
    assert "reached 1.20 (1.20..1.20) ≥ 1.2 small50: messages_per_s of asyncrev to uvloop" in words
    assert "missed 0.60 (0.60..0.60) ≥ 0.9 small50: messages_per_s of asyncrev to native" in words
    assert "not measured ≤ 0.5 start: start_cpu_ms of asyncrev to before" in words
    assert count == f"1 reached, 1 missed, {len(GOALS) - 2} not measured"


def test_command_without_results_says_which_file_it_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, as for a usage error."""
    assert goals.main([str(tmp_path / "none.json")]) == 2
    assert f"{tmp_path}/none.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(("rate", "cell"), [(12.0, "**1.20**"), (9.0, "0.90")])
def test_page_tells_goals_with_those_reached_in_bold(
    tmp_path: Path, rate: float, cell: str
) -> None:
    """In the short form, for another interpreter's section."""
    results = results_of({"small50": small50([rate], [10.0])})
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- newest: begin -->\nof last year\n<!-- newest: end -->\n", encoding="utf-8"
    )
    report.put_between_markers(page, report.NEWEST, report.short_markdown(results))
    text = page.read_text(encoding="utf-8")
    assert "last year" not in text
    row = "| 50 connections, 64 B ping-pong | asyncrev, `messages_per_s` | uvloop | ≥ 1.2 |"
    assert f"{row} {cell} <sub>" in text
