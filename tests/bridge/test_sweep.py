"""sweep: who is looked at, and when."""

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev import Limits
from asyncrev.bridge import sweep as sweep_module
from asyncrev.bridge.lane import Lane
from asyncrev.bridge.lanes import Lanes
from asyncrev.bridge.sweep import SWEEP_S, Sweep
from asyncrev.connection.deadlines import Deadlines
from asyncrev.work.make_work import make_work
from asyncrev.work.reverse import Reverse
from tests.stalled_loop import StalledLoop
from tests.support import until

on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


def set_of(*lanes: Lane) -> Lanes:
    """Return the lanes of a bridge."""
    made = Lanes()
    for lane in lanes:
        made.add(lane)
    return made


def lanes_of(number: int) -> list[Lane]:
    """Return lanes that nobody works on."""
    sink: Any = None
    works = [make_work(Reverse, views_allowed=True) for _ in range(number)]
    return [Lane(sink, work, is_framed=False) for work in works]


@on_epoll
async def test_sweep_passes_over_a_lane_until_its_time() -> None:
    """The others are looked at all the same, with a time that goes with the loop's."""
    early, late, never = lanes_of(3)
    loop = asyncio.get_running_loop()
    looked: list[tuple[Lane, float]] = []
    late.look_at_s = loop.time() + 1000.0
    never.look_at_s = float("inf")
    sweep = Sweep(set_of(early, late, never), lambda *seen: looked.append(seen), 0.01)
    before_s = loop.time()
    sweep.start(loop)
    await until(lambda: len(looked) >= 3, "three sweeps came")
    assert {lane for lane, _ in looked} == {early}
    assert before_s <= looked[0][1] <= loop.time()
    late.look_at_s = 0.0
    await until(lambda: late in [lane for lane, _ in looked], "it is looked at, too")
    sweep.stop()
    assert not sweep.is_running


@on_epoll
async def test_sweep_ends_with_the_last_lane_and_can_be_started_again() -> None:
    """Nothing is called on a loop without connections."""
    loop = asyncio.get_running_loop()
    lanes = set_of(*lanes_of(1))
    sweep = Sweep(lanes, lambda lane, _: lanes.discard(lane), 0.01)
    sweep.start(loop)
    sweep.start(loop)  # without effect
    await until(lambda: not sweep.is_running, "it has ended")
    assert not lanes
    lanes.add(*lanes_of(1))
    sweep.start(loop)
    await until(lambda: not lanes, "it looked again")
    sweep.stop()
    sweep.stop()


@on_epoll
@pytest.mark.parametrize("stop_after", [1, 3, 4, 8])
async def test_sweep_that_is_stopped_by_a_look_ends_after_that_step(
    monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    """A look may end the bridge; what is left of that step is harmless, and no other comes."""
    monkeypatch.setattr(sweep_module, "SWEEP_LANES", 3)
    loop = asyncio.get_running_loop()
    looked: list[Lane] = []

    def look(lane: Lane, _: float) -> None:
        looked.append(lane)
        if len(looked) == stop_after:
            sweep.stop()

    sweep = Sweep(set_of(*lanes_of(8)), look, 0.01)
    sweep.start(loop)
    await until(lambda: len(looked) >= stop_after, "it was stopped")
    for _ in range(5):
        await asyncio.sleep(0)
    assert not sweep.is_running
    assert len(looked) == min(8, -(-stop_after // 3) * 3)


@on_epoll
async def test_interval_is_a_quarter_of_the_shortest_deadline_but_a_second_at_most() -> None:
    """So a deadline is at most a quarter late."""
    nobody = Lanes()
    assert Sweep(nobody, lambda *_: None, 0.2).interval_s == 0.05
    assert Sweep(nobody, lambda *_: None, float("inf")).interval_s == SWEEP_S


@on_epoll
async def test_time_of_a_sweep_stands_still_while_the_loop_does_not_run() -> None:
    """A callback blocks it for six intervals; the sweep right behind sees none of them."""
    loop = asyncio.get_running_loop()
    seen: list[tuple[float, float]] = []
    sweep = Sweep(set_of(*lanes_of(1)), lambda _, now_s: seen.append((now_s, loop.time())), 0.2)
    sweep.start(loop)
    await until(lambda: len(seen) >= 2, "two sweeps came")
    await asyncio.sleep(0)
    before = len(seen)
    loop.call_soon(time.sleep, 6 * sweep.interval_s)
    await until(lambda: len(seen) >= before + 3, "three more came")
    sweep.stop()
    swept_s = seen[before][0] - seen[before - 1][0]
    assert swept_s <= sweep.interval_s + 1e-6
    assert seen[before][1] - seen[before - 1][1] >= 6 * sweep.interval_s
    assert seen[-1][0] > seen[before][0]  # and it goes on


# -- in virtual time -----------------------------------------------------------------------------


TIMEOUT_S = 8.0
INTERVAL_S = 1.0


def silent_for_s(spells: list[tuple[float, float]], heard_at_s: float | None = None) -> float:
    """Return how long a loop had run when a silent peer was aborted; `spells` are of run and stall.

    `heard_at_s`: when the peer has sent a byte, which stays in the kernel until the loop runs.
    """
    loop: Any = StalledLoop()
    start_s = loop.now_s
    deadlines = Deadlines(Limits(first_byte_timeout_s=TIMEOUT_S, idle_timeout_s=TIMEOUT_S))
    aborted_after_s: list[float] = []
    lanes = set_of(*lanes_of(1))
    read_bytes = 0

    def read() -> None:
        nonlocal read_bytes
        read_bytes = int(heard_at_s is not None and loop.now_s >= start_s + heard_at_s)

    def look(lane: Lane, now_s: float) -> None:
        error = deadlines.passed(
            now_s,
            received_bytes=read_bytes,
            written_bytes=0,
            unsent_bytes=0,
            busy=False,
            frame_seq=None,
            held_input=lambda: (
                int(heard_at_s is not None and loop.now_s >= start_s + heard_at_s) - read_bytes,
                False,
            ),
        )
        if error is not None:
            aborted_after_s.append(loop.ran_s)
            lanes.discard(lane)
        loop.call_soon(read)  # a poll comes after the timers, as late as may be

    sweep = Sweep(lanes, look, 4 * INTERVAL_S)
    sweep.start(loop)
    for run_s, stall_s in spells:
        loop.run(run_s)
        loop.stall(stall_s)
    loop.run(10 * TIMEOUT_S)
    (aborted_s,) = aborted_after_s
    return aborted_s


spells_of_a_loop = st.lists(st.tuples(st.floats(0.0, 4.0), st.floats(0.0, 30.0)), max_size=8)


@given(spells_of_a_loop)
def test_deadline_of_a_silent_peer_passes_by_running_time(
    spells: list[tuple[float, float]],
) -> None:
    """Early by at most a sweep for each stall; late by one for its start, one for its end."""
    aborted_s = silent_for_s(spells)
    stalls = len([stall_s for _, stall_s in spells if stall_s])
    assert aborted_s >= TIMEOUT_S - stalls * INTERVAL_S - 1e-6
    assert aborted_s <= TIMEOUT_S + (2 + stalls) * INTERVAL_S + 1e-6


@given(spells_of_a_loop, st.floats(0.0, TIMEOUT_S - 1e-3))
def test_peer_that_sent_within_its_time_is_never_aborted_for_what_the_loop_was_late(
    spells: list[tuple[float, float]], heard_at_s: float
) -> None:
    """By the clock on the wall, whatever the loop did meanwhile; then it has an idle time."""
    assert silent_for_s(spells, heard_at_s) >= TIMEOUT_S - len(spells) * INTERVAL_S
    ran_s = 0.0  # of the loop when the byte was sent
    at_s = 0.0
    for run_s, stall_s in [*spells, (100.0, 0.0)]:
        ran_s += min(run_s, max(0.0, heard_at_s - at_s))
        at_s += run_s + stall_s
    stalls = len(spells)
    assert silent_for_s(spells, heard_at_s) >= ran_s + TIMEOUT_S - stalls * INTERVAL_S - 1e-6
