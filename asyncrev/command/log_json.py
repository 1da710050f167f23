"""Log records as JSON: one object per line, whatever is logged (docs/howto/logs.md has the fields).

As in `log_text`, peers cannot forge a record: everything is escaped, by JSON and before it by
`printable`, so that what a program takes out of a field is fit for a terminal, too. A line is valid
UTF-8, and its length is bounded.
"""

import datetime
import json
import logging
import math
import os
from typing import Any

from asyncrev.log_text import bounded

__all__ = ["JsonFormatter", "error_line", "json_line", "rfc3339"]

_NAME_CHARACTERS = 256  # of loggers, levels and threads, whose names a program chooses
_EXTRA_BYTES = 8192  # of all further fields together
_DEPTH = 4  # of objects and lists within them

# Made once, because `json.dumps` makes one for each call with such arguments.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

# Attributes of records that are fields of their own, beside what `fields` has.
_ATTRIBUTES = ("reason", "peer", "end")


def rfc3339(unix_s: float) -> str:
    """Return a time in UTC with milliseconds, such as 2026-11-26T17:00:00.000Z (RFC 3339).

    Raises:
        ValueError, OverflowError, OSError: it is not within the years 1 to 9999.
    """
    time = datetime.datetime.fromtimestamp(unix_s, datetime.UTC).replace(tzinfo=None)
    return f"{time.isoformat(timespec='milliseconds')}Z"


def json_line(fields: dict[str, Any]) -> str:
    """Return an object as one line without its end; values that JSON does not have become text."""
    safe = {_text(name, _NAME_CHARACTERS): _value(value, _DEPTH) for name, value in fields.items()}
    return _encode(safe)


def error_line(message: str) -> str:
    """Return the line of an error that ends the command."""
    record = logging.LogRecord("asyncrev", logging.CRITICAL, "", 0, message, None, None)
    return JsonFormatter().format(record)


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object.

    A record's attribute `fields`, a dictionary, adds fields; those that every record has win.
    """

    def __init__(self, worker: str = "") -> None:
        """Add the field `worker`, unless that is ""."""
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text without a line end. The record is not changed.

        Raises:
            Exception: the record's arguments do not fit its message, or its time is none.
        """
        core: dict[str, Any] = {
            "ts": rfc3339(record.created),
            "level": _text(record.levelname, _NAME_CHARACTERS),
            "logger": _text(record.name, _NAME_CHARACTERS),
            "message": record.getMessage().rstrip("\n"),
        }
        if record.exc_info and record.exc_info[0] is not None:
            core["traceback"] = self.formatException(record.exc_info)
        elif record.exc_text:
            core["traceback"] = str(record.exc_text)
        if record.stack_info:
            core["stack"] = self.formatStack(record.stack_info)
        if self._worker:
            core["worker"] = self._worker
        core["pid"] = record.process or os.getpid()
        core["thread"] = _text(record.threadName, _NAME_CHARACTERS)
        for name in _ATTRIBUTES:
            if hasattr(record, name):
                core[name] = str(getattr(record, name))
        more = _more(record, core)
        line = json_line({**core, **more})
        if more and len(line) > _EXTRA_BYTES:
            size_bytes = len(json_line(more).encode())
            if size_bytes > _EXTRA_BYTES:
                line = json_line({**core, "fields_left_out_bytes": size_bytes})
        return line


def _more(record: logging.LogRecord, core: dict[str, Any]) -> dict[str, Any]:
    """Return what `record.fields` adds to `core`."""
    fields = getattr(record, "fields", None)
    if not isinstance(fields, dict):
        return {}
    more = {_text(name, _NAME_CHARACTERS): value for name, value in fields.items()}
    return {name: value for name, value in more.items() if name not in core}


def _value(value: object, depth: int) -> Any:
    """Return a value as JSON has it, with its text escaped and shortened."""
    if isinstance(value, str):
        return bounded(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and value.bit_length() < 64:
        return int(value)  # of an enum, too
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))  # "inf"
    if depth and isinstance(value, dict):
        return {_text(name, _NAME_CHARACTERS): _value(v, depth - 1) for name, v in value.items()}
    if depth and isinstance(value, (list, tuple)):
        return [_value(one, depth - 1) for one in value]
    return bounded(hex(value) if isinstance(value, int) else str(value))


def _text(value: object, most_characters: int) -> str:
    return bounded(str(value)[:most_characters])
