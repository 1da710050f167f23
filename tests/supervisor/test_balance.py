"""The next connection goes to the worker with the fewest, in turn where several have them."""

from hypothesis import given
from hypothesis import strategies as st

from asyncrev.supervisor.balance import Balance


def test_the_least_loaded_is_chosen() -> None:
    assert Balance().choose([3, 1, 2]) == 1


def test_equal_loads_take_turns() -> None:
    balance = Balance()
    assert [balance.choose([0, 0, 0]) for _ in range(4)] == [0, 1, 2, 0]


def test_one_that_takes_nothing_is_left_out() -> None:
    balance = Balance()
    assert [balance.choose([None, 5, 9]) for _ in range(2)] == [1, 1]
    assert balance.choose([None, None]) is None
    assert balance.choose([]) is None


@given(st.integers(1, 9), st.integers(0, 300))
def test_connections_that_stay_are_spread_evenly(places: int, connections: int) -> None:
    """Loads differ by one at most, whatever their number."""
    balance = Balance()
    loads = [0] * places
    for _ in range(connections):
        chosen = balance.choose(loads)
        assert chosen is not None
        loads[chosen] += 1
    assert max(loads) - min(loads) <= 1


@given(st.lists(st.none() | st.integers(0, 5), max_size=6), st.integers(0, 5))
def test_no_place_is_chosen_that_is_not_least(loads: list[int | None], before: int) -> None:
    balance = Balance()
    balance.choose([0] * (before + 1))
    chosen = balance.choose(loads)
    free = [load for load in loads if load is not None]
    assert (chosen is None) == (not free)
    assert chosen is None or loads[chosen] == min(free)
