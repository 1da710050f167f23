"""sweep: who is looked at, and when."""

import asyncio
from typing import Any

import pytest

from asyncrev import sweep as sweep_module
from asyncrev.lane import Lane
from asyncrev.reverse import Reverse
from asyncrev.sweep import SWEEP_S, Sweep
from tests.support import until

pytestmark = pytest.mark.asyncio(loop_factories=["epoll"])


def lanes_of(number: int) -> list[Lane]:
    """Return lanes that nobody works on."""
    sink: Any = None
    return [Lane(sink, Reverse, views_allowed=True) for _ in range(number)]


async def test_sweep_passes_over_a_lane_until_its_time() -> None:
    """The others are looked at all the same, with the loop's time."""
    early, late, never = lanes_of(3)
    loop = asyncio.get_running_loop()
    looked: list[tuple[Lane, float]] = []
    late.look_at_s = loop.time() + 1000.0
    never.look_at_s = float("inf")
    sweep = Sweep({early, late, never}, lambda *seen: looked.append(seen), 0.01)
    before_s = loop.time()
    sweep.start(loop)
    await until(lambda: len(looked) >= 3, "three sweeps came")
    assert {lane for lane, _ in looked} == {early}
    assert before_s <= looked[0][1] <= loop.time()
    late.look_at_s = 0.0
    await until(lambda: late in [lane for lane, _ in looked], "it is looked at, too")
    sweep.stop()
    assert not sweep.is_running


async def test_sweep_ends_with_the_last_lane_and_can_be_started_again() -> None:
    """Nothing is called on a loop without connections."""
    loop = asyncio.get_running_loop()
    lanes = set(lanes_of(1))
    sweep = Sweep(lanes, lambda lane, _: lanes.discard(lane), 0.01)
    sweep.start(loop)
    sweep.start(loop)  # without effect
    await until(lambda: not sweep.is_running, "it has ended")
    assert not lanes
    lanes.update(lanes_of(1))
    sweep.start(loop)
    await until(lambda: not lanes, "it looked again")
    sweep.stop()
    sweep.stop()


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

    sweep = Sweep(set(lanes_of(8)), look, 0.01)
    sweep.start(loop)
    await until(lambda: len(looked) >= stop_after, "it was stopped")
    for _ in range(5):
        await asyncio.sleep(0)
    assert not sweep.is_running
    assert len(looked) == min(8, -(-stop_after // 3) * 3)


async def test_interval_is_a_quarter_of_the_shortest_deadline_but_a_second_at_most() -> None:
    """So a deadline is at most a quarter late."""
    nobody: set[Lane] = set()
    assert Sweep(nobody, lambda *_: None, 0.2).interval_s == 0.05
    assert Sweep(nobody, lambda *_: None, float("inf")).interval_s == SWEEP_S
