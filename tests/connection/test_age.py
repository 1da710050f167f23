"""age: when a connection is old, in virtual time; that not all are old at once; the drain's end."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.connection.age import AGE_SPREAD, Age
from tests.support import until

on_all = pytest.mark.asyncio


def old_after_s(most_s: float) -> float:
    """Return after how many seconds a new connection is old."""
    age = Age(most_s)
    assert not age.has_come(0.0)
    assert age.old_at_s is not None
    return age.old_at_s


@given(st.floats(0.001, 1e9), st.floats(0, 1e6))
def test_age_comes_once_within_a_tenth_of_what_was_set(most_s: float, start_s: float) -> None:
    """Counted from the first look, whatever the clock says."""
    age = Age(most_s)
    assert age.bound(7.0) == 7.0
    assert not age.has_come(start_s)
    least_s, longest_s = most_s * (1 - AGE_SPREAD), most_s * (1 + AGE_SPREAD)
    assert not age.has_come(start_s + least_s * 0.999)
    assert age.old_at_s is not None
    assert start_s + least_s * 0.999 < age.old_at_s <= start_s + longest_s * 1.001
    assert age.has_come(start_s + longest_s * 1.001)
    assert not age.has_come(start_s + 100 * longest_s)


def test_next_look_is_not_later_than_the_age() -> None:
    """A quiet connection is passed over until then; afterwards its age asks for no look."""
    age = Age(100.0)
    assert not age.has_come(1000.0)
    assert age.bound(0.0) == 0.0
    assert age.bound(1001.0) == 1001.0
    assert age.bound(float("inf")) == age.old_at_s
    assert age.has_come(1111.0)
    assert age.bound(float("inf")) == float("inf")


@pytest.mark.parametrize("number", [10, 100, 1000])
def test_connections_of_one_moment_end_spread_over_a_fifth(number: int) -> None:
    """No tenth of that time has far more of them than its share."""
    ages_s = [old_after_s(100.0) for _ in range(number)]
    assert all(90.0 <= age_s <= 110.0 for age_s in ages_s)
    for tenth in range(10):
        start_s = 90.0 + 2 * tenth
        share = sum(start_s <= age_s < start_s + 2.0 for age_s in ages_s)
        assert share <= number / 10 + 3


@on_all
async def test_drain_that_takes_too_long_is_told_once() -> None:
    """After its timeout; and not if the connection ended before."""
    late: list[str] = []
    slow, ended = Age(1.0), Age(1.0)
    slow.begin_drain(0.05, lambda: late.append("slow"))
    ended.begin_drain(0.05, lambda: late.append("ended"))
    assert slow.is_draining
    ended.end()
    ended.end()
    await until(lambda: late, "the drain is late")
    assert late == ["slow"]
    slow.end()
    assert ended.is_draining  # so its connection is counted


@on_all
async def test_connection_that_has_ended_is_freed_without_the_garbage_collector() -> None:
    """It is in no circle with the timer of its drain."""

    class Connection:
        def __init__(self) -> None:
            self.age = Age(1.0)

        def late(self) -> None: ...

    connection = Connection()
    connection.age.begin_drain(1000.0, connection.late)
    connection.age.end()
    freed = weakref.ref(connection)
    gc.disable()
    try:
        del connection
        assert freed() is None
    finally:
        gc.enable()
