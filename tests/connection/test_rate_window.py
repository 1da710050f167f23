"""rate_window: what is slow and from when on, in virtual time."""

from hypothesis import given
from hypothesis import strategies as st

from asyncrev.connection.rate_window import RATE_WINDOW_S, RateWindow


def test_rate_is_judged_after_a_window_and_not_before() -> None:
    """At 100 bytes per second, 999 in ten seconds are too few, and 1000 are not."""
    window = RateWindow()
    assert not window.is_slow(50.0, 0, 100, debt=1)
    assert not window.is_slow(59.9, 0, 100, debt=1)
    assert window.is_slow(60.0, 999, 100, debt=1)
    assert (window.owed_s, window.come_bytes) == (RATE_WINDOW_S, 999)
    assert not window.is_slow(60.0, 1000, 100, debt=1)


def test_fast_window_is_no_credit_for_the_next() -> None:
    """A megabyte at first does not pay for silence."""
    window = RateWindow()
    assert not window.is_slow(0.0, 0, 100, debt=1)
    assert not window.is_slow(10.0, 1_000_000, 100, debt=1)
    assert not window.is_slow(19.9, 1_000_000, 100, debt=1)
    assert window.is_slow(20.0, 1_000_999, 100, debt=1)


def test_another_debt_begins_another_window() -> None:
    """Whoever is done with one has all the time for the next."""
    window = RateWindow()
    assert not window.is_slow(0.0, 0, 100, debt=1)
    assert not window.is_slow(10.0, 5, 100, debt=2)
    assert not window.is_slow(19.9, 5, 100, debt=2)
    assert window.is_slow(20.0, 5, 100, debt=2)


def test_time_in_which_nothing_is_owed_does_not_count() -> None:
    """Nor does an interval at one of whose ends nothing was."""
    window = RateWindow()
    assert not window.is_slow(0.0, 0, 100, debt=1)
    assert not window.is_slow(6.0, 0, 100, debt=1, owed=False)
    assert not window.is_slow(60.0, 0, 100, debt=1, owed=False)
    assert not window.is_slow(66.0, 0, 100, debt=1)
    assert not window.is_slow(75.9, 0, 100, debt=1)
    assert window.is_slow(76.0, 0, 100, debt=1)
    assert not window.is_slow(99.0, 0, 100, debt=1, owed=False)


def test_total_that_grows_in_steps_may_be_behind_by_one() -> None:
    """At 100 bytes per second and steps of 500, nothing has to come for five seconds more."""
    window = RateWindow()
    assert not window.is_slow(0.0, 0, 100, debt=1, step_bytes=500)
    assert not window.is_slow(10.0, 500, 100, debt=1, step_bytes=500)
    assert window.is_slow(10.1, 500, 100, debt=1, step_bytes=500)
    assert window.is_slow(10.1, 500, 100, debt=1, step_bytes=500)
    assert not window.is_slow(10.2, 1100, 100, debt=1, step_bytes=500)


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 3000)), max_size=80),
)
def test_steady_rate_above_the_least_is_never_slow(
    least: int, steps: list[tuple[float, int]]
) -> None:
    """Whatever the times of the looks, and whatever comes on top."""
    window = RateWindow()
    now_s, total = 0.0, 0
    for waited_s, more in steps:
        now_s += waited_s
        total += int(waited_s * least) + 1 + more
        assert not window.is_slow(now_s, total, least, debt=1)


@given(
    st.integers(10, 1000),
    st.floats(0.05, 2),
    st.integers(0, 10**6),
    st.integers(0, 64 * 1024),
)
def test_rate_below_the_least_is_slow_in_a_bounded_time(
    least: int, every_s: float, first: int, step_bytes: int
) -> None:
    """Half of it, after any burst: a window, and what the steps give, and a look for each."""
    window = RateWindow()
    now_s, total = 0.0, 0
    assert not window.is_slow(now_s, total, least, debt=1, step_bytes=step_bytes)
    while not window.is_slow(now_s, first + int(total), least, debt=1, step_bytes=step_bytes):
        now_s += every_s
        total += least * every_s / 2
        most_s = 2 * RATE_WINDOW_S + 2 * (first + step_bytes + 1) / least + 3 * every_s
        assert now_s <= most_s
    assert now_s >= RATE_WINDOW_S - every_s
