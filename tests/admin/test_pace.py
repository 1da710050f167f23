"""pace: a burst at once, then as often as allowed, in order."""

from asyncrev.admin.pace import Pace


def test_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    """Ten per second, three at once."""
    pace = Pace(10.0, 3)
    delays = [round(pace.delay_s(100.0), 6) for _ in range(6)]
    assert delays == [0, 0, 0, 0.1, 0.2, 0.3]


def test_time_without_steps_allows_a_burst_again_and_no_more() -> None:
    """However long nothing came."""
    pace = Pace(10.0, 2)
    assert [pace.delay_s(0.0) for _ in range(2)] == [0, 0]
    assert [round(pace.delay_s(1000.0), 6) for _ in range(3)] == [0, 0, 0.1]


def test_long_run_is_the_rate() -> None:
    """Whoever asks as often as possible gets what is allowed."""
    pace, now_s = Pace(100.0, 50), 0.0
    for _ in range(1050):
        now_s += pace.delay_s(now_s)
    assert 9.9 < now_s < 10.1
