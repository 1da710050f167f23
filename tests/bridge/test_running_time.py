"""running_time: what of a loop's time counts, in virtual time and on real loops."""

import asyncio
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncrev.bridge.running_time import (
    LONGEST_STEP_S,
    RunningClock,
    RunningTimer,
    running_timeout,
    step_of,
)
from tests.stalled_loop import StalledLoop

TICK_S = 0.001


# -- the clock -----------------------------------------------------------------------------------


def test_clock_goes_with_the_loop_that_is_on_time() -> None:
    """Early or a little late: at most what was planned counts."""
    clock = RunningClock(100.0)
    assert clock.now_s == 100.0
    assert clock.read(101.0, 1.0) == 101.0
    assert clock.read(101.25, 1.0) == 101.25
    assert clock.read(102.75, 1.0) == 102.25  # 0.5 s late
    assert clock.read(102.75, 1.0) == 102.25


def test_clock_stands_still_in_a_stall() -> None:
    """Also for what was planned: who knows when in the interval it began."""
    clock = RunningClock(100.0)
    clock.read(101.0, 1.0)
    assert clock.read(3600.0, 1.0) == 101.0
    assert clock.read(3601.0, 1.0) == 102.0
    assert clock.read(7200.0, 1.0) == 102.0


def test_clock_counts_every_second_interval_of_a_loop_that_only_stalls() -> None:
    """Who makes the loop late all the time, makes no deadline infinite."""
    clock = RunningClock(0.0)
    assert [clock.read(10.0 * n, 1.0) for n in range(1, 7)] == [0.0, 1.0, 1.0, 2.0, 2.0, 3.0]


def test_clock_is_not_stopped_by_short_readings_between_stalls() -> None:
    """The steps of one sweep are such; the next stall is excused when an interval was counted."""
    clock = RunningClock(0.0)
    now_s = 0.0
    for _ in range(100):
        now_s += 10.0
        clock.read(now_s, 1.0)
        now_s += 0.01
        clock.read(now_s, 1.0)
    assert clock.now_s >= 49.0


gaps = st.lists(st.floats(0.0, 20.0), max_size=60)


@given(gaps, st.floats(0.01, 2.0))
def test_clock_counts_no_more_than_planned_and_no_less_than_half(
    passed: list[float], planned_s: float
) -> None:
    """Whatever goes by between its readings."""
    clock = RunningClock(50.0)
    loop_s = before_s = 50.0
    for passed_s in passed:
        loop_s += passed_s
        now_s = clock.read(loop_s, planned_s)
        assert now_s == clock.now_s
        assert 0.0 <= now_s - before_s <= min(passed_s, planned_s) + 1e-9
        before_s = now_s
    full = sum(min(passed_s, planned_s) for passed_s in passed)
    # Each excused stall costs an interval; between two of them as much was counted.
    assert clock.now_s - 50.0 >= (full - planned_s) / 2 - 1e-6


# -- the timer -----------------------------------------------------------------------------------


def test_timer_fires_at_its_time_on_a_loop_that_is_on_time() -> None:
    """In whole steps and a rest."""
    for delay_s in (0.0, 0.1, 1.0, 7.3, 100.0):
        loop: Any = StalledLoop()
        fired: list[float] = []
        RunningTimer(loop, delay_s, lambda fired=fired, loop=loop: fired.append(loop.ran_s))
        loop.run(delay_s + 5)
        assert len(fired) == 1
        assert abs(fired[0] - delay_s) <= TICK_S
        assert not loop.timers


def test_timer_that_is_cancelled_does_nothing_more() -> None:
    """Before, meanwhile and after."""
    loop: Any = StalledLoop()
    fired: list[float] = []
    timer = RunningTimer(loop, 4.0, lambda: fired.append(loop.now_s))
    loop.run(2.5)
    timer.cancel()
    timer.cancel()
    assert not loop.timers
    loop.run(10)
    assert fired == []
    timer = RunningTimer(loop, 4.0, lambda: fired.append(loop.now_s))
    loop.run(10)
    timer.cancel()
    assert len(fired) == 1


@given(
    st.floats(0.05, 20.0),
    st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.0, 30.0)), max_size=12),
)
@example(2.0, [(1.9, 30.0)])
@example(2.0, [(0.01, 30.0)])
def test_timer_counts_running_time(delay_s: float, spells: list[tuple[float, float]]) -> None:
    """Early by at most a step for a stall, late by at most one."""
    loop: Any = StalledLoop()
    step_s = step_of(delay_s)
    fired: list[float] = []
    stalls = 0
    RunningTimer(loop, delay_s, lambda: fired.append(loop.ran_s))
    for run_s, stall_s in spells:
        loop.run(run_s)
        if fired:
            break
        loop.stall(stall_s)
        stalls += 1
    loop.run(delay_s + (stalls + 1) * step_s)
    assert len(fired) == 1
    assert delay_s - stalls * step_s - TICK_S <= fired[0]
    assert fired[0] <= delay_s + stalls * step_s + TICK_S


@given(st.floats(0.05, 20.0), st.floats(0.0, 1.0), st.floats(1.6, 1e5))
def test_timer_is_never_early_after_one_stall_that_can_be_seen(
    delay_s: float, part: float, stall_steps: float
) -> None:
    """SIGSTOP at any moment: the peer keeps all of its time."""
    loop: Any = StalledLoop()
    fired: list[float] = []
    RunningTimer(loop, delay_s, lambda: fired.append(loop.ran_s))
    loop.run(part * (delay_s - 2 * TICK_S))
    loop.stall(stall_steps * step_of(delay_s))
    loop.run(delay_s + 2)
    assert len(fired) == 1
    assert delay_s - TICK_S - 1e-6 <= fired[0] <= delay_s + step_of(delay_s) + TICK_S


def test_step_is_a_quarter_but_a_second_at_most() -> None:
    """So nothing is late by more than a quarter."""
    assert step_of(0.2) == 0.05
    assert step_of(4.0) == 1.0
    assert step_of(float("inf")) == LONGEST_STEP_S


# -- on real loops -------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_timeout_cancels_what_takes_longer() -> None:
    """As `asyncio.timeout` does; not before its time."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    with pytest.raises(TimeoutError):
        async with running_timeout(0.05):
            await asyncio.Event().wait()
    assert loop.time() - start_s >= 0.05 - 2 * TICK_S
    with pytest.raises(TimeoutError):
        async with running_timeout(0.0):
            await asyncio.Event().wait()


@pytest.mark.asyncio
async def test_timeout_leaves_alone_what_is_done_in_time() -> None:
    """Also what it raises, and a cancellation from outside; nothing is left on the loop."""
    async with running_timeout(0.05):
        await asyncio.sleep(0)
    with pytest.raises(ValueError, match="mine"):
        async with running_timeout(0.05):
            raise ValueError("mine")

    async def wait() -> None:
        async with running_timeout(1000.0):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.1)  # the first timeout would have passed here
