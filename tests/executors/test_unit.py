"""One executor's calls."""

from typing import Any

from asyncrev.executors.batching import Batch, Frame
from asyncrev.executors.unit import ExecutorUnit, UnitState


def opened(workers: int) -> tuple[ExecutorUnit, list[Batch]]:
    """Return a unit and twice as many batches as it has workers."""
    executor: Any = object()
    unit = ExecutorUnit()
    assert not unit.has_place
    unit.open(executor, workers, 1.0)
    return unit, [Batch([Frame(None, b"", 0.0)], unit) for _ in range(2 * workers)]


def test_places_are_two_per_worker() -> None:
    """One runs, one waits."""
    unit, batches = opened(2)
    seen = []
    for batch in batches:
        seen.append((unit.is_idle, unit.has_place, unit.load))
        unit.add(batch, 2.0)
    assert seen == [(True, True, 0.0), (True, True, 0.5), (False, True, 1.0), (False, True, 1.5)]
    assert not unit.has_place


def test_time_counts_from_when_a_worker_can_have_begun() -> None:
    """Not while a batch waits behind another."""
    unit, (first, second) = opened(1)
    unit.add(first, 2.0)
    unit.add(second, 2.0)
    assert (first.began_s, second.began_s) == (2.0, None)
    assert not unit.hangs(3.9, 2.0)
    assert unit.hangs(4.0, 2.0)
    unit.remove(first, 4.0)
    assert second.began_s == 4.0
    assert not unit.hangs(5.9, 2.0)


def test_lone_worker_can_have_begun_with_its_first_batch_only() -> None:
    """The rest is untouched."""
    unit, (first, second) = opened(1)
    unit.add(first, 2.0)
    unit.add(second, 2.0)
    assert unit.lose() == ([first], [second])
    assert unit.state is UnitState.CLOSED
    assert unit.executor is None
    assert not unit.has_place


def test_several_workers_may_have_begun_with_all() -> None:
    """Nobody knows."""
    unit, batches = opened(2)
    for batch in batches:
        unit.add(batch, 2.0)
    assert unit.lose() == (batches, [])


def test_frame_tried_again_is_seen() -> None:
    """So that it is alone."""
    unit, (first, second) = opened(1)
    unit.add(first, 2.0)
    assert not unit.is_trying_again
    second.frames[0].tries = 1
    unit.add(second, 2.0)
    assert unit.is_trying_again


def test_lone_worker_that_keeps_no_order_may_have_begun_with_any() -> None:
    """A cluster's scheduler decides."""
    unit = ExecutorUnit(in_order=False)
    executor: Any = object()
    unit.open(executor, 1, 1.0)
    assert not unit.knows_culprit
    batches = [Batch([], unit), Batch([], unit)]
    for batch in batches:
        unit.add(batch, 2.0)
    assert unit.lose() == (batches, [])
