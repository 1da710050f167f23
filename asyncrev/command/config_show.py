"""What `asyncrev config show` prints: each option with its value and where it comes from."""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from asyncrev.command.option import TABLES, Option
from asyncrev.command.option_types import takes_lists, written
from asyncrev.command.option_values import OptionValue
from asyncrev.command.settings import limits_of
from asyncrev.command.tls import wanted_of_clients
from asyncrev.errors import SettingsError
from asyncrev.log_text import printable

__all__ = ["as_json", "as_text", "as_toml", "effective"]

_SCHEMA = 1  # of the JSON; a field that is only added does not change it


def effective(values: Sequence[OptionValue]) -> list[OptionValue]:
    """Return `values` with what follows from other options in place of their None.

    Raises:
        SettingsError: the limits cannot be used together.
    """
    asked = {value.option.name: value.value for value in values}
    limits = limits_of(values)
    follow: dict[str, Any] = {
        option.name: getattr(limits, option.limit)
        for option in (value.option for value in values)
        if option.limit and option.follows
    }
    follow["ssl_cert_reqs"] = wanted_of_clients(asked["ssl_cert_reqs"], asked["ssl_ca_certs"])
    return [
        dataclasses.replace(value, value=follow[value.option.name])
        if value.value is None and value.option.name in follow
        else value
        for value in values
    ]


def _by_table(values: Sequence[OptionValue]) -> Iterator[tuple[str, list[OptionValue]]]:
    for table in TABLES:
        yield table, [value for value in values if value.option.table == table]


def _texts(option: Option, value: Any) -> list[str]:
    """Return the texts that would be given for a value; none for one that was not given."""
    if value is None:
        return []
    parts = value if option.repeatable else [value]
    return [written(option.type, part) for part in parts]


def _comment(value: OptionValue) -> str:
    """Return where a value comes from, and why a default is what it is."""
    if value.yielded is not None:
        return f"default: {value.yielded.place} yields to {value.yields_to}"
    follows = value.option.follows if not value.is_given else ""
    return f"{value.place}: {follows}" if follows else value.place


# -- forms -----------------------------------------------------------------------------------------


def as_text(values: Sequence[OptionValue]) -> str:
    """Return a table for people."""
    rows = [(value, printable(", ".join(_texts(value.option, value.value)))) for value in values]
    name_width = max(len(value.option.name) for value in values)
    text_width = min(30, max(len(text) for _, text in rows))
    lines = []
    for table, members in (("", [v for v in values if not v.option.table]), *_by_table(values)):
        if table:
            lines.append(f"[{table}]")
        for value, text in rows:
            if value in members:
                origin = printable(_comment(value))
                lines.append(
                    f"{value.option.name:<{name_width}}  {text or '-':<{text_width}}  {origin}"
                )
        lines.append("")
    return "\n".join(lines)


def as_toml(values: Sequence[OptionValue]) -> str:
    """Return a configuration file that gives the same options; defaults are comments in it.

    Raises:
        SettingsError: a value has bytes that TOML cannot hold.
    """
    lines = ["# Written by `asyncrev config show --format toml`. Defaults are comments.", ""]
    for table, members in _by_table(values):
        lines.append(f"[{table}]")
        for value in members:
            said = (
                f"{value.option.name} = {_toml(value)}" if _texts(value.option, value.value) else ""
            )
            start = "" if value.is_given else "# "
            what = said or f"{value.option.name}: not set"
            lines.append(f"{start}{what}  # {printable(_comment(value))}")
        lines.append("")
    return "\n".join(lines)


def _toml(value: OptionValue) -> str:
    option = value.option
    try:
        if option.repeatable:
            return f"[{', '.join(_quoted(text) for text in _texts(option, value.value))}]"
        if takes_lists(option.type) and value.value is not None:
            return f"[{', '.join(_quoted(text) for text in value.value)}]"
        texts = _texts(option, value.value)
        if isinstance(value.value, int) and texts == [str(value.value)]:
            return texts[0]
        return _quoted(texts[0])
    except UnicodeEncodeError:
        raise SettingsError(
            f"{value.origin} is {value.value!r}: bytes that are not UTF-8 cannot be in TOML; use "
            "--format json"
        ) from None


def _quoted(text: str) -> str:
    text.encode("utf-8")
    # The escapes of JSON are those of TOML, which has them for DEL, too.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def as_json(values: Sequence[OptionValue]) -> str:
    """Return an object for programs; times without end are the text "inf"."""
    options = {
        value.option.name: {
            "table": value.option.table,
            "value": _plain(value.value),
            "text": _texts(value.option, value.value),
            "source": value.source.value,
            "origin": _comment(value),
        }
        for value in values
    }
    return json.dumps({"schema": _SCHEMA, "options": options}, indent=2) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
