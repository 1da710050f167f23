"""What /config of the admin endpoint shows: each option with its value and its origin."""

import math
from collections.abc import Sequence
from typing import Any

from asyncrev.command.option_values import OptionValue

__all__ = ["config_of"]

# Values that let somebody do something; of files only the names are shown.
SECRETS = frozenset({"stop_word"})


def config_of(values: Sequence[OptionValue]) -> dict[str, Any]:
    """Return the options by name, in plain JSON types.

    A value of None was not given, and has no default, or one that follows from other options.
    """
    return {
        "options": {
            value.option.name: {"value": _shown(value), "origin": value.origin} for value in values
        }
    }


def _shown(value: OptionValue) -> Any:
    if value.value is not None and value.option.name in SECRETS:
        return "(hidden)"
    return _plain(value.value)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # "inf", which JSON has no number for
    return value if isinstance(value, str | int | float | None) else str(value)
