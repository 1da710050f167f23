"""log_limit: ten lines a second of each reason, and one with the number of the others."""

import logging

import hypothesis
import hypothesis.strategies as st

from asyncrev.command.log_limit import MOST_LINES, MOST_REASONS, WINDOW_S, LeftOut, LineLimit

INFO = logging.INFO


def test_ten_lines_pass_and_the_rest_is_counted() -> None:
    """Told once, when the second is over; the next one begins with its first line."""
    limit = LineLimit()
    assert [limit.passes("a", INFO, 5.0) for _ in range(25)] == [True] * 10 + [False] * 15
    assert limit.next_s == 6.0
    assert limit.take_left_out(5.9) == []
    assert limit.take_left_out(6.0) == [LeftOut("a", INFO, 15)]
    assert limit.next_s is None
    assert limit.take_left_out(7.0) == []
    assert limit.passes("a", INFO, 7.0)


def test_reasons_and_levels_have_a_limit_each() -> None:
    """A noisy one hides no other."""
    limit = LineLimit()
    for _ in range(20):
        limit.passes("noisy", INFO, 0.0)
    assert limit.passes("other", INFO, 0.0)
    assert limit.passes("noisy", logging.ERROR, 0.0)


def test_what_was_left_out_is_told_also_if_the_next_line_ends_its_second() -> None:
    """The line comes before anybody asked."""
    limit = LineLimit()
    for _ in range(12):
        limit.passes("a", INFO, 0.0)
    assert limit.passes("a", INFO, 1.5)
    assert limit.take_left_out(1.5) == [LeftOut("a", INFO, 2)]


def test_reasons_without_end_share_one_limit_and_are_forgotten() -> None:
    """Texts of other libraries may hold addresses; neither memory nor lines grow with them."""
    limit = LineLimit()
    passed = sum(limit.passes(f"reason {n}", INFO, 0.0) for n in range(10_000))
    assert passed == MOST_REASONS + MOST_LINES
    assert len(limit._windows) == MOST_REASONS + 1
    assert limit.take_left_out(1.0) == [LeftOut("other reasons", INFO, 10_000 - passed)]
    assert limit._windows == {}


@hypothesis.given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 0.5), st.integers(1, 30)), max_size=50)
)
def test_every_line_is_written_or_counted_once(bursts: list[tuple[str, float, int]]) -> None:
    """However bursts and looks fall; and within any second there are twice ten lines at most."""
    limit = LineLimit()
    now_s, asked, told = 0.0, 0, 0
    passed_s: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    for reason, pause_s, lines in bursts:
        now_s += pause_s
        asked += lines
        passed_s[reason] += [now_s] * sum(limit.passes(reason, INFO, now_s) for _ in range(lines))
        told += sum(left_out.lines for left_out in limit.take_left_out(now_s))
    told += sum(left_out.lines for left_out in limit.take_left_out(now_s + WINDOW_S))
    assert asked == told + sum(map(len, passed_s.values()))
    assert limit.next_s is None
    for times in passed_s.values():
        for at_s in times:
            assert sum(at_s <= other < at_s + 0.99 * WINDOW_S for other in times) <= 2 * MOST_LINES
