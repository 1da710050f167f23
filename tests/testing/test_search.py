"""search: the smallest violation is reported, and one that does not recur is reported as such."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from asyncrev.testing.lanes import Violation
from asyncrev.testing.search import search

Draw = Callable[[Any], Any]


def test_search_without_violation_tries_many_draws() -> None:
    """No more often, and the draws differ."""
    drawn = []
    search(lambda draw: drawn.append(draw(st.integers(0, 10_000))), 50)
    assert len(drawn) <= 50
    assert len(set(drawn)) > 10


def test_search_reports_the_smallest_violation_with_its_cause() -> None:
    """Hypothesis shrinks what was drawn."""

    def check(draw: Draw) -> None:
        number = draw(st.integers(0, 10_000))
        if number >= 100:
            raise Violation(f"{number} is too large") from KeyError(number)

    with pytest.raises(AssertionError, match=r"^100 is too large$") as caught:
        search(check, 100)
    assert isinstance(caught.value.__cause__, KeyError)


def test_search_reports_a_violation_that_does_not_recur() -> None:
    """Hypothesis repeats the example, which then passes."""
    violations = iter([Violation("only once")])

    def check(draw: Draw) -> None:
        draw(st.booleans())
        for violation in violations:
            raise violation

    with pytest.raises(AssertionError, match="only once\\n  This does not happen every time"):
        search(check, 10)


def test_search_passes_other_errors_on() -> None:
    """They are not violations, but errors of the check."""

    def check(draw: Draw) -> None:
        raise ZeroDivisionError(draw(st.booleans()))

    with pytest.raises(ZeroDivisionError):
        search(check, 10)
