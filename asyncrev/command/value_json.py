"""Option values in plain JSON types, as a supervisor passes them to its workers.

The two may be of different versions: a package that was upgraded while the supervisor runs is what
a new worker imports.
"""

import math
from collections.abc import Sequence
from typing import Any

from asyncrev.command.option_values import OptionValue, Source, default_of
from asyncrev.command.options import OPTIONS, option_named
from asyncrev.errors import SettingsError

__all__ = ["values_from_json", "values_to_json"]

_NUMBER = "number"  # key of a number that JSON does not have


def values_to_json(values: Sequence[OptionValue]) -> list[Any]:
    """Return values with their sources, for `values_from_json`. Thread: any.

    Raises:
        TypeError: a value is of a type that no option has.
    """
    return [_value_to_json(value) for value in values]


def values_from_json(items: Sequence[Any]) -> list[OptionValue]:
    """Return the values that `values_to_json` was given, in the order of the table. Thread: any.

    An option that is not among them has its default.

    Raises:
        SettingsError: an option is not known here; the supervisor is of another version.
    """
    found = {item[0]: _value_from_json(item) for item in items}
    return [found[row.name] if row.name in found else default_of(row) for row in OPTIONS]


def _value_to_json(value: OptionValue) -> list[Any]:
    yielded = None if value.yielded is None else _value_to_json(value.yielded)
    return [
        value.option.name,
        _plain(value.value),
        value.source.value,
        value.line,
        yielded,
        value.yields_to,
    ]


def _value_from_json(item: Sequence[Any]) -> OptionValue:
    name, value, source, line, yielded, yields_to = item
    try:
        option = option_named(name)
    except KeyError:
        raise SettingsError(
            f"the supervisor gives {name}, which this version does not know; restart the service"
        ) from None
    return OptionValue(
        option,
        _from_plain(value),
        Source(source),
        line,
        None if yielded is None else _value_from_json(yielded),
        yields_to,
    )


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_NUMBER: str(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    raise TypeError(f"{value!r} is of no type that options have")


def _from_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return float(value[_NUMBER])
    return tuple(map(_from_plain, value)) if isinstance(value, list) else value
