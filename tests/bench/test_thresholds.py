"""thresholds: what is kept and what is broken."""

import pytest

pytest.importorskip("hdrh")

from asyncrev.bench.measurement import Outcome
from asyncrev.bench.thresholds import parse_threshold
from asyncrev.errors import SettingsError
from tests.bench.made import figures


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("p50<101us", True),
        ("p50 < 99 us", False),
        ("p99.9<=0.6ms", True),
        ("max<1ms", True),
        ("max>1s", False),
        ("mean<1s", True),
        ("rate>=1000", True),
        ("rate>1e9", False),
        ("errors<1", True),
        ("errors>0", False),
    ],
)
def test_limits_are_compared_with_the_figures(text: str, is_kept: bool) -> None:
    """p50 of these is 100 us, the largest 500.9 us, the rate 1000/s."""
    assert parse_threshold(text).is_kept(figures()) == is_kept


def test_errors_break_a_limit() -> None:
    """They are counted over all kinds."""
    made = figures(outcome=Outcome(errors={"reset": 1, "closed": 2}))
    threshold = parse_threshold("errors<3")
    assert not threshold.is_kept(made)
    assert threshold.shown_value(made) == "3"


def test_without_latencies_no_limit_of_one_is_kept() -> None:
    """A run in which nothing was answered is not a fast one."""
    assert not parse_threshold("p99<5ms").is_kept(figures([0]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("p99", "not of the form"),
        ("p99=5ms", "not of the form"),
        ("p98<5ms", "'p98' is none of p50, p90"),
        ("p99<5", "p99 is a time"),
        ("p99<5min", "p99 is a time"),
        ("rate>5ms", "rate has no unit"),
        ("rate>-5", "not of the form"),
    ],
)
def test_what_is_no_limit_is_refused(text: str, words: str) -> None:
    """With the form and the names."""
    with pytest.raises(SettingsError) as caught:
        parse_threshold(text)
    assert words in str(caught.value)
