"""Settings of executors are checked."""

import math

import pytest

from asyncrev.errors import SettingsError
from asyncrev.executors.settings import ExecutorSettings


def test_defaults_are_allowed_and_so_is_no_limit_of_time() -> None:
    """They are what the pages say."""
    settings = ExecutorSettings()
    assert (settings.batch_frames, settings.batch_bytes, settings.timeout_s) == (16, 262144, 30.0)
    assert ExecutorSettings(timeout_s=math.inf).timeout_s == math.inf


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", 0),
        ("workers", 513),
        ("workers", 1.5),
        ("batch_frames", 0),
        ("batch_frames", 1025),
        ("batch_bytes", 0),
        ("timeout_s", 0),
        ("timeout_s", "soon"),
        ("address", "localhost"),
        ("address", 8786),
    ],
)
def test_value_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    """With the value."""
    with pytest.raises(SettingsError, match=f"{name} is {value!r}"):
        ExecutorSettings(**{name: value})  # type: ignore[arg-type]
