"""limit_checks: what is a count and what is a time, whose ever attribute it is."""

import math
import sys
import types
from typing import Any

import pytest

from asyncrev.errors import SettingsError
from asyncrev.limit_checks import check_count, check_time


def settings(value: Any) -> Any:
    """Return an object with one setting, `some`."""
    return types.SimpleNamespace(some=value)


@pytest.mark.parametrize("value", [3, 4, 10])
def test_count_within_its_bounds_passes(value: int) -> None:
    """Both bounds are allowed."""
    check_count(settings(value), "some", 3, most=10)
    with pytest.raises(SettingsError):
        check_count(settings(value), "some", value + 1, most=10)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2, "some is 2; it must be a whole number >= 3, which is other"),
        (True, "some is True; it must be a whole number >= 3, which is other"),
        (4.0, "some is 4.0; it must be a whole number >= 3, which is other"),
        (11, "some is 11; it must be at most 10"),
    ],
)
def test_count_out_of_bounds_is_named_with_what_is_allowed(value: Any, text: str) -> None:
    """So that whoever reads the message knows what to change."""
    with pytest.raises(SettingsError) as caught:
        check_count(settings(value), "some", 3, ", which is other", most=10)
    assert str(caught.value) == text


def test_count_is_by_default_at_most_what_fits_a_c_size() -> None:
    """More than that is a length of nothing."""
    check_count(settings(sys.maxsize), "some", 0)
    with pytest.raises(SettingsError, match="it must be at most"):
        check_count(settings(sys.maxsize + 1), "some", 0)


def test_time_may_be_never_only_where_that_is_said() -> None:
    """Infinity is no number of seconds otherwise."""
    check_time(settings(math.inf), "some", or_never=True)
    check_time(settings(0.001), "some")
    with pytest.raises(SettingsError, match=r"some is inf; it must be a number of seconds"):
        check_time(settings(math.inf), "some")
    with pytest.raises(SettingsError, match="or inf for never"):
        check_time(settings(math.nan), "some", or_never=True)
