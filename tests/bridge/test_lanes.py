"""lanes: a bridge's lanes, which another thread may copy while they change."""

import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from asyncrev.bridge.lane import Lane
from asyncrev.bridge.lanes import Lanes
from asyncrev.work.make_work import make_work
from asyncrev.work.reverse import Reverse
from tests.support import wait_until


def lanes_of(number: int) -> list[Lane]:
    """Return lanes that nobody works on."""
    sink: Any = None
    works = [make_work(Reverse, views_allowed=True) for _ in range(number)]
    return [Lane(sink, work, is_framed=False) for work in works]


@given(st.lists(st.tuples(st.sampled_from(["add", "discard", "clear"]), st.integers(0, 4))))
def test_lanes_are_a_set_of_them(steps: list[tuple[str, int]]) -> None:
    """Taking one out is idempotent; a copy does not change with them."""
    pool, lanes, model = lanes_of(5), Lanes(), set[Lane]()
    for step, number in steps:
        before, copy = set(model), lanes.copy()
        if step == "clear":
            lanes.clear()
            model.clear()
        else:
            getattr(lanes, step)(pool[number])
            getattr(model, step)(pool[number])
        assert copy == before
        assert set(lanes) == lanes.copy() == model
        assert len(lanes) == len(model)


@given(st.lists(st.floats(0, 100)), st.floats(0, 100))
def test_due_are_those_whose_time_has_come(times_s: list[float], now_s: float) -> None:
    """At the very time, too."""
    lanes = Lanes()
    for lane, look_at_s in zip(lanes_of(len(times_s)), times_s, strict=True):
        lane.look_at_s = look_at_s
        lanes.add(lane)
    due = lanes.due(now_s)
    assert sorted(lane.look_at_s for lane in due) == sorted(at for at in times_s if at <= now_s)
    assert len(set(due)) == len(due)


def test_any_being_answered_asks_every_lane() -> None:
    """One is enough."""
    lanes = Lanes()
    assert not lanes.any_being_answered()
    made = lanes_of(3)
    for lane in made:
        lanes.add(lane)
    assert not lanes.any_being_answered()
    for lane in made:
        lane.in_flight_entries = 1
        assert lanes.any_being_answered()
        lane.in_flight_entries = 0
    assert not lanes.any_being_answered()


def test_copy_by_another_thread_while_lanes_come_and_go_has_all_that_stay() -> None:
    """A set that changes its size under an iteration raises; a copy does not iterate."""
    stay, guests, lanes = lanes_of(300), lanes_of(300), Lanes()
    for lane in stay:
        lanes.add(lane)
    copies, over = [0], threading.Event()
    wrong: list[object] = []

    def copy() -> None:
        allowed = {*stay, *guests}
        try:
            while not over.is_set():
                seen = lanes.copy()
                if not set(stay) <= seen <= allowed:
                    wrong.append(len(seen))
                copies[0] += 1
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=copy)
    thread.start()
    try:
        wait_until(lambda: copies[0] > 0 or wrong, "the other thread is at it")
        while copies[0] < 200 and not wrong:
            for lane in guests:
                lanes.add(lane)
            for lane in guests:
                lanes.discard(lane)
    finally:
        over.set()
        thread.join(30)
    assert wrong == []
    assert copies[0] >= 200
    assert lanes.copy() == set(stay)
