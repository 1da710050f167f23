"""How settings are checked: one function for counts, one for times.

Their messages name the setting, its value and what is allowed.
"""

import math
import sys
from typing import Any

from asyncrev.errors import SettingsError

__all__ = ["MOST_BYTES", "MOST_C_INT", "check_count", "check_time"]

# What the kernel takes as a C int: the length of an accept queue (listen(2)), a descriptor.
MOST_C_INT = 2**31 - 1

# What fits a C size with room to double it and to add to it.
MOST_BYTES = sys.maxsize >> 3

# A shorter time than the first would have the sweep run all the time; the second is 31 years.
LEAST_TIME_S, MOST_TIME_S = 0.001, 1e9


def check_count(
    settings: Any, name: str, least: int, why: str = "", most: int = sys.maxsize
) -> None:
    """Check that the attribute `name` of `settings` is a whole number from `least` to `most`.

    `why`: what `least` is, for the message. Thread: any.

    Raises:
        SettingsError: it is not.
    """
    value = getattr(settings, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingsError(f"{name} is {value!r}; it must be a whole number >= {least}{why}")
    if value > most:
        raise SettingsError(f"{name} is {value}; it must be at most {most}")


def check_time(settings: Any, name: str, *, or_never: bool = False) -> None:
    """Check that the attribute `name` of `settings` is a time in seconds. Thread: any.

    `or_never`: whether it may be `inf`, too.

    Raises:
        SettingsError: it is not.
    """
    value = getattr(settings, name)
    is_number = isinstance(value, (int, float))
    if is_number and (LEAST_TIME_S <= value <= MOST_TIME_S or (or_never and value == math.inf)):
        return
    raise SettingsError(
        f"{name} is {value!r}; it must be a number of seconds from {LEAST_TIME_S:g} to "
        f"{MOST_TIME_S:g}{', or inf for never' if or_never else ''}"
    )
