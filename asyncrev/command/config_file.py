"""Options of a configuration file: each key has its row, its table, its value; or is a mistake."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from asyncrev.command.config_document import Document, read_document
from asyncrev.command.option import TABLES, Option
from asyncrev.command.option_types import (
    converted,
    refusal_of_number,
    takes_booleans,
    takes_lists,
)
from asyncrev.command.option_values import OptionValue, Source
from asyncrev.command.options import OPTIONS
from asyncrev.log_text import shorten_to

__all__ = ["FileOptions", "options_in", "read_file"]

_MOST_SHOWN = 80  # characters of a value in a message
_MOST_REASON = 400  # characters of what is wrong with it, which has the value once more
_TAIL = 20  # characters that are kept of its end
_TAIL_REASON = 200  # which lists what is allowed
_TABLE_NAMES = ", ".join(f"[{name}]" for name in TABLES)
_KINDS = {bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "a table"}


@dataclasses.dataclass(frozen=True, slots=True)
class FileOptions:
    """What a file says.

    Attributes:
        values: the options that it sets, by name.
        mistakes: a message for each key or table that cannot be used, in the order of lines.
    """

    values: dict[str, OptionValue]
    mistakes: list[str]


def read_file(path: str) -> FileOptions:
    """Read the options in a file.

    Raises:
        SettingsError: it cannot be read, or is not TOML in UTF-8.
    """
    return options_in(read_document(path))


def options_in(document: Document) -> FileOptions:
    """Return the options that a document sets. Nothing is set by what has a mistake."""
    values: dict[str, OptionValue] = {}
    found: list[tuple[int, str]] = []
    rows = {(row.table, row.name): row for row in OPTIONS if row.table}
    for table, content in document.data.items():
        if table not in TABLES or not isinstance(content, dict):
            found.append(_mistake(document, (table,), _wrong_table(table, content)))
            continue
        for key, value in content.items():
            row = rows.get((table, key))
            if row is None:
                found.append(_mistake(document, (table, key), _wrong_key(table, key)))
                continue
            try:
                one = _value_of(row, value)
            except ValueError as error:
                why = shorten_to(str(error), _MOST_REASON, _TAIL_REASON)
                what = f"[{table}] {key} = {_shown(value)}: {why}"
                found.append(_mistake(document, (table, key), what))
                continue
            if one != ():  # an empty array gives nothing
                line = document.place(table, key)
                values[key] = OptionValue(row, one, Source.FILE, line)
    return FileOptions(values, [message for _, message in sorted(found)])


def _mistake(document: Document, path: tuple[str, ...], what: str) -> tuple[int, str]:
    return document.lines.get(path, 0), f"{document.place(*path)}: {what}"


# -- names -----------------------------------------------------------------------------------------


def _wrong_table(name: str, content: Any) -> str:
    if name in TABLES:
        if isinstance(content, list):
            return f"{name} is an array; write its table once, as [{name}]"
        return f"{name} = {_shown(content)}: it must be a table, written as [{name}]"
    row = _row_like(name)
    if row is not None:
        return f"{name} stands outside of a table; it belongs in [{row.table}]"
    what = f"[{name}] is no table of the file" if isinstance(content, dict) else f"{name} is no key"
    near = _nearest(name, TABLES)
    hint = f"perhaps [{near}] was meant" if near else f"there are {_TABLE_NAMES}"
    if not near and not isinstance(content, dict):
        meant = _nearest(_as_name(name), [row.name for row in OPTIONS if row.table])
        hint = f"perhaps {meant} was meant" if meant else "keys are the names of options, in tables"
    return f"{what}; {hint}"


def _wrong_key(table: str, key: str) -> str:
    row = _row_like(key)
    if row is not None and not row.table:
        return f"[{table}] {key} cannot be set in a file; give {row.flag} or {row.variable}"
    if row is not None and row.table != table:
        return f"[{table}] {key} is in the wrong table; it belongs in [{row.table}]"
    if row is not None:
        return f"[{table}] {key} is no key; write it as {row.name}"
    known = {option.name: option for option in OPTIONS if option.table}
    near = _nearest(_as_name(key), known)
    if not near:
        return f"[{table}] {key} is no key; keys are the names of options (asyncrev serve --help)"
    where = "" if known[near].table == table else f" of [{known[near].table}]"
    return f"[{table}] {key} is no key; perhaps {near}{where} was meant"


def _row_like(key: str) -> Option | None:
    """Return the row of that name, also if it is written as a flag or in capitals."""
    name = _as_name(key)
    return next((row for row in OPTIONS if row.name == name), None)


def _as_name(key: str) -> str:
    return key.strip().lstrip("-").replace("-", "_").lower().removeprefix("asyncrev_")


def _nearest(name: str, known: Any) -> str:
    import difflib  # rarely needed

    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")


# -- values ----------------------------------------------------------------------------------------


def _value_of(row: Option, value: Any) -> Any:
    """Return a value of TOML as the option has it.

    Raises:
        ValueError: the option has no such value.
    """
    if row.repeatable:
        parts = value if isinstance(value, list) else [value]
        return tuple(converted(row.type, text) for text in _texts(row, parts))
    if takes_lists(row.type) and isinstance(value, list):
        texts = list(_texts(row, value))
        if any("," in text for text in texts):
            raise ValueError("a comma stands between two; write an element for each")
        return converted(row.type, ",".join(texts)) if texts else ()
    (text,) = _texts(row, [value])
    return converted(row.type, text)


def _texts(row: Option, values: list[Any]) -> Iterator[str]:
    """Return the texts that would be given as flags for these values.

    Raises:
        ValueError: a value is of a kind that stands for no text.
    """
    for value in values:
        refusal = ""
        if isinstance(value, str):
            if "\0" in value:
                refusal = "it has a null character"
        elif isinstance(value, bool):
            refusal = "" if takes_booleans(row.type) else "it is a boolean"
        elif isinstance(value, int | float):
            refusal = refusal_of_number(row.type)
        else:
            refusal = f"it is {_KINDS.get(type(value), 'a date or time')}"
        if refusal:
            raise ValueError(f"{refusal}; give {_accepted(row)}" if ";" not in refusal else refusal)
        yield _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return str(value)
    except ValueError:  # an integer of thousands of digits
        raise ValueError("it is a number of too many digits") from None


def _accepted(row: Option) -> str:
    if row.repeatable or takes_lists(row.type):
        return "a text in quotes, or an array of several"
    if row.placeholder == "N":
        return "a number"
    choices = getattr(row.type, "choices", None)
    return f"one of {', '.join(choices)}, in quotes" if choices else f"{row.placeholder}, in quotes"


def _shown(value: Any) -> str:
    try:
        text = _toml_like(value)
    except (ValueError, RecursionError):
        return "..."
    return shorten_to(text, _MOST_SHOWN, _TAIL)


def _toml_like(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{...}" if value else "{}"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return f"[{', '.join(_toml_like(one) for one in value[:_MOST_SHOWN])}]"
    return str(value)
