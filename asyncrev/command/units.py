"""Numbers of bytes and seconds in the forms that people write: 64K, 1.5MiB, 500ms, 1h30m."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = [
    "BYTES_FORMS",
    "SECONDS_FORMS",
    "format_bytes",
    "format_seconds",
    "parse_bytes",
    "parse_seconds",
]

# The units of GNU coreutils (dd, head, du): K and KiB are 1024 bytes, kB is 1000. It does no harm
# if a limit that was meant as 64 KiB is 64,000 bytes, or the other way round.
_BYTE_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _BYTE_UNITS[_letter] = _BYTE_UNITS[_letter + "ib"] = 1024**_power
    _BYTE_UNITS[_letter + "b"] = 1000**_power

# The short units of systemd.time(7), in microseconds.
_SECOND_UNITS = {
    "us": 1,
    "ms": 1000,
    "s": 1_000_000,
    "m": 60 * 1_000_000,
    "min": 60 * 1_000_000,
    "h": 3600 * 1_000_000,
    "d": 86_400 * 1_000_000,
}

BYTES_FORMS = "65536, 64K or 64KiB (1024 each), 64kB (1000 each), 1.5M, 2G"
SECONDS_FORMS = "30 or 0.5, or with units as 500ms, 30s, 5m, 2h, 1h30m, 1d"

# At most 30 digits before and after the point: longer numbers are mistakes, and arithmetic with
# them is slow.
_NUMBER = r"[0-9]{1,30}(?:\.[0-9]{1,30})?"
_BYTES = re.compile(rf"([+-]?{_NUMBER})\s*([a-z]*)", re.IGNORECASE)
_SECONDS = re.compile(rf"(?:{_NUMBER}\s*[a-z]+\s*)+", re.IGNORECASE)
_SECONDS_PART = re.compile(rf"({_NUMBER})\s*([a-z]+)", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Return the number of bytes that `text` gives; without a unit it counts bytes.

    The range is not checked here, so the number may be negative.

    Raises:
        ValueError: `text` is not a number of bytes, or not a whole one; the message has the
            accepted forms.
    """
    match = _BYTES.fullmatch(text.strip().replace("_", ""))
    factor = _BYTE_UNITS.get(match[2].lower()) if match is not None else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a number of bytes; give bytes as {BYTES_FORMS}")
    nbytes = _exact(match[1]) * factor
    if nbytes.denominator != 1:
        raise ValueError(f"{text!r} is {float(nbytes)!r} bytes; give a whole number of them")
    return nbytes.numerator


def parse_seconds(text: str) -> float:
    """Return the number of seconds that `text` gives; without a unit it counts seconds, or is inf.

    The range is not checked here, so the number may be negative or nan.

    Raises:
        ValueError: `text` is not a time; the message has the accepted forms.
    """
    stripped = text.strip()
    if _SECONDS.fullmatch(stripped):
        parts = [(number, unit.lower()) for number, unit in _SECONDS_PART.findall(stripped)]
        if all(unit in _SECOND_UNITS for _, unit in parts):
            total_us = sum(_exact(number) * _SECOND_UNITS[unit] for number, unit in parts)
            return float(total_us / 1_000_000)
    try:
        return float(stripped)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; give seconds as {SECONDS_FORMS}") from None


def _exact(number: str) -> "int | Fraction":
    if "." not in number:
        return int(number)
    from fractions import Fraction  # which takes 5 ms, and no default of an option needs it

    return Fraction(number)


def format_bytes(nbytes: int) -> str:
    """Format a number of bytes exactly, in a short form that `parse_bytes` accepts: 256KiB."""
    for power, letter in ((4, "T"), (3, "G"), (2, "M"), (1, "K")):
        if nbytes and nbytes % 1024**power == 0:
            return f"{nbytes // 1024**power}{letter}iB"
    return str(nbytes)


def format_seconds(seconds: float) -> str:
    """Format a time exactly, in a short form that `parse_seconds` accepts: 5m, 500ms."""
    for unit in ("d", "h", "m", "s", "ms"):
        number = seconds / (_SECOND_UNITS[unit] / 1_000_000)
        if not (1 <= number < 1e9 and number == int(number)):
            continue
        if int(number) * _SECOND_UNITS[unit] / 1_000_000 == seconds:  # as `parse_seconds` does
            return f"{int(number)}{unit}"
    return repr(seconds)
