"""stall: when a peer counts as taking nothing."""

from hypothesis import given
from hypothesis import strategies as st

from asyncrev.stall import StallWatch


def test_stall_without_progress_is_told_at_the_timeout() -> None:
    """Not before, and again as long as it lasts."""
    watch = StallWatch(10.0)
    assert not watch.is_stalled(100.0, 50, 20)
    assert not watch.is_stalled(109.9, 50, 20)
    assert watch.is_stalled(110.0, 50, 20)
    assert watch.is_stalled(120.0, 50, 20)


def test_stall_one_byte_taken_starts_the_time_anew() -> None:
    """Slow is not stalled."""
    watch = StallWatch(10.0)
    assert not watch.is_stalled(0.0, 50, 20)
    assert not watch.is_stalled(9.0, 50, 19)
    assert not watch.is_stalled(18.9, 50, 19)
    assert watch.is_stalled(19.0, 50, 19)


def test_stall_more_written_is_no_progress() -> None:
    """A backlog that only grows is a stall all the same."""
    watch = StallWatch(10.0)
    assert not watch.is_stalled(0.0, 50, 20)
    assert not watch.is_stalled(5.0, 80, 50)
    assert watch.is_stalled(10.0, 99, 69)


def test_stall_with_nothing_unsent_never_is() -> None:
    """An idle peer owes nothing, and its time starts when a backlog does."""
    watch = StallWatch(1.0)
    assert not watch.is_stalled(0.0, 0, 0)
    assert not watch.is_stalled(50.0, 0, 0)
    assert not watch.is_stalled(50.5, 7, 7)
    assert watch.is_stalled(51.0, 7, 7)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5)), max_size=30))
def test_stall_agrees_with_a_plain_history(steps: list[tuple[int, int, int]]) -> None:
    """Oracle: the time since the last look at which something was taken or nothing was there."""
    watch = StallWatch(4.0)
    now_s = written = taken = 0
    last_taken, since_s = None, 0
    for waited_s, more, take in steps:
        now_s += waited_s
        written += more
        taken = min(written, taken + take)
        if written == taken or taken != last_taken:
            last_taken, since_s = taken, now_s
            expected = False
        else:
            expected = now_s - since_s >= 4
        assert watch.is_stalled(now_s, written, written - taken) is expected
