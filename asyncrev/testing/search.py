"""Search for a counterexample with Hypothesis, reported as one AssertionError.

Import it after `strategies`, whose ImportError says what to install if Hypothesis is missing.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from asyncrev.testing.lanes import Violation

__all__ = ["search"]


def search(check: Callable[[Callable[[Any], Any]], None], max_examples: int) -> None:
    """Search for draws that make `check` raise Violation; report the smallest ones.

    `check`: gets a function that draws from a strategy. `max_examples`: how often it is called at
    most, apart from shrinking. Thread: any.

    Raises:
        AssertionError: `check` raised Violation; the message is that of the smallest example.
    """
    __tracebackhide__ = True
    found: list[Violation] = []

    @settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=(HealthCheck.too_slow,),
        report_multiple_bugs=False,
    )
    @given(st.data())
    def example(data: st.DataObject) -> None:
        try:
            check(data.draw)
        except Violation as violation:
            found[:] = [violation]
            raise

    try:
        example()
    except Violation as violation:
        raise AssertionError(str(violation)) from violation.__cause__
    except Flaky:
        if not found:
            raise
        raise AssertionError(
            f"{found[0]}\n  This does not happen every time: the replies depend on something else "
            "than the input, such as state that instances share, time or chance."
        ) from found[0].__cause__
