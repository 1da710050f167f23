"""run: warm-up, intervals, ends, over real sockets."""

import itertools
import time
from typing import Any

import pytest

from asyncrev.bench import run as run_module
from asyncrev.bench.measurement import Interval, Outcome
from asyncrev.bench.messages import make_cycle
from asyncrev.bench.plan import Plan
from asyncrev.bench.run import Run
from tests.bench.servers import (
    Handler,
    closing_after,
    echo,
    reversing,
    served,
    silent,
    trickling,
    wrong_after,
)


def measured(
    handle: Handler, on_interval: Any = None, **settings: Any
) -> tuple[list[Interval], Outcome]:
    """Run a plan against a server that handles its connections so."""
    settings = {
        "connections": 3,
        "expect": "echo",
        "duration_s": 0.3,
        "warmup_s": 0.05,
        "timeout_s": 1.0,
        **settings,
    }
    with served(handle) as port:
        plan = Plan(port=port, **settings)
        run = Run(plan, make_cycle(plan), on_interval=on_interval)
        try:
            run.connect()
            outcome = run.run()
        finally:
            run.close()
    return [one for _, one in sorted(run.intervals.items())], outcome


@pytest.mark.parametrize(
    ("handle", "settings"),
    [
        (echo, {}),
        (reversing, {"expect": "reverse"}),
        (reversing, {"expect": "reverse", "depth": 5}),
        (reversing, {"expect": "reverse", "size_bytes": 200_000, "depth": 2}),
        (echo, {"framing": "line", "depth": 7}),
        (trickling, {"framing": "len32"}),
        (echo, {"rate_per_s": 500.0}),
        (echo, {"rate_per_s": 500.0, "framing": "len64", "depth": 3}),
    ],
)
def test_run_measures_in_intervals_without_an_error(
    handle: Handler, settings: dict[str, Any]
) -> None:
    """Their ends meet, and their messages have latencies."""
    seen: list[int] = []
    intervals, outcome = measured(handle, lambda number, _: seen.append(number), **settings)
    assert outcome.errors == {}
    assert outcome.mismatch is None
    assert 1 <= len(intervals) <= 3
    assert len(seen) == len(intervals)
    assert intervals[0].from_s == 0
    assert 0.3 <= intervals[-1].to_s < 2
    for one, after in itertools.pairwise(intervals):
        assert one.to_s == after.from_s
    messages = sum(one.messages for one in intervals)
    latencies = sum(sum(one.latencies.values()) for one in intervals)
    assert messages > 0
    assert messages - 30 <= latencies <= messages
    assert outcome.cores[0] > 0


@pytest.mark.parametrize("settings", [{}, {"depth": 4}, {"duration_s": None}])
def test_count_is_exact(settings: dict[str, Any]) -> None:
    """With the warm-up's messages apart."""
    settings = {"duration_s": 30.0, **settings}
    intervals, outcome = measured(echo, count=1000, **settings)
    assert sum(one.messages for one in intervals) == 1000
    assert sum(sum(one.latencies.values()) for one in intervals) == 1000
    assert outcome.errors == {}


def test_open_loop_with_a_count_ends_with_its_last_reply() -> None:
    """Its schedule begins anew after the warm-up."""
    intervals, outcome = measured(echo, rate_per_s=500.0, count=100, duration_s=None, depth=2)
    assert sum(one.messages for one in intervals) == 100
    assert 0.19 <= intervals[-1].to_s < 2
    assert outcome.errors == {}


def test_open_loop_keeps_its_rate() -> None:
    """However busy the machine is: each message that was due in the time has a latency."""
    intervals, outcome = measured(echo, rate_per_s=400.0, duration_s=1.0)
    latencies = sum(sum(one.latencies.values()) for one in intervals) + sum(outcome.late.values())
    assert latencies == pytest.approx(400 * intervals[-1].to_s, abs=3)
    assert sum(sum(one.lags.values()) for one in intervals) > 0


def test_open_loop_with_a_slow_server_counts_what_was_never_sent() -> None:
    """With the time that it has waited."""
    intervals, outcome = measured(silent, rate_per_s=1000.0, timeout_s=0.2)
    assert sum(one.messages for one in intervals) == 0
    assert outcome.unsent > 200
    assert sum(outcome.late.values()) == outcome.unsent
    assert max(outcome.late) > 2_000_000  # 100 ns each
    assert outcome.errors["no_reply"] == 3


def test_wrong_byte_ends_the_run_with_its_offset() -> None:
    """At once."""
    began_s = time.monotonic()
    _, outcome = measured(wrong_after(5, 64), duration_s=60.0)
    assert time.monotonic() - began_s < 30
    assert f"byte {5 * 64 + 32} of the replies" in str(outcome.mismatch)


@pytest.mark.parametrize(("resets", "kind"), [(False, "closed"), (True, "reset")])
def test_run_ends_when_all_connections_are_lost(resets: bool, kind: str) -> None:
    """With an error for each."""
    _, outcome = measured(closing_after(50, resets=resets), duration_s=60.0)
    assert outcome.errors[kind] == 3


def test_replies_that_never_come_are_errors() -> None:
    """With a count, too, which else would never be reached."""
    _, outcome = measured(silent, timeout_s=0.2)
    assert outcome.errors == {"no_reply": 3}
    _, outcome = measured(silent, timeout_s=0.2, duration_s=None, count=10)
    assert outcome.errors["no_reply"] >= 3


def test_interrupted_run_has_what_it_has_measured() -> None:
    """And no errors, because nobody has waited for the last replies."""
    with served(echo) as port:
        plan = Plan(port=port, connections=2, expect="echo", duration_s=60.0, warmup_s=0.0)
        run = Run(plan, make_cycle(plan), on_interval=lambda *_: run.interrupt())
        run.connect()
        outcome = run.run()
        run.close()
    assert outcome.is_interrupted
    assert outcome.errors == {}
    assert sum(one.messages for one in run.intervals.values()) > 0


@pytest.mark.parametrize("most", [2, 3])
def test_many_intervals_are_joined(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """A run with a count and no end has a bounded number of them."""
    monkeypatch.setattr(run_module, "MOST_INTERVALS", most)
    intervals, _ = measured(echo, duration_s=None, rate_per_s=200.0, count=160)
    assert len(intervals) <= most
    assert sum(one.messages for one in intervals) == 160
    assert sum(sum(one.latencies.values()) for one in intervals) == 160
