"""Restarts come later and later, and there is an end to them."""

from asyncrev.restarts import Backoff, DeathCount


def test_delays_double_up_to_a_bound() -> None:
    backoff = Backoff()
    assert [backoff.delay_s(1) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_minute_of_health_is_a_new_start() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.delay_s(59.9)
    assert backoff.delay_s(60) == 0.5
    assert backoff.delay_s(0) == 1


def test_the_limit_is_of_a_window() -> None:
    """Ten within a minute, and not ten within an hour."""
    count = DeathCount(10)
    assert not any(count.note(7.0 * number, "exit 1") for number in range(40))
    close = DeathCount(10)
    assert [close.note(6.0 * number, "SIGKILL") for number in range(10)] == [False] * 9 + [True]


def test_the_window_slides() -> None:
    count = DeathCount(2)
    assert not count.note(0, "hung")
    assert not count.note(60, "hung")
    assert count.note(119, "exit 1")
    assert count.by_cause == {"hung": 2, "exit 1": 1}


def test_without_a_limit_it_goes_on_for_ever() -> None:
    count = DeathCount(0)
    assert not any(count.note(0, "exit 1") for _ in range(100))
