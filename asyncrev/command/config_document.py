"""A configuration file as TOML: read, parsed, with the lines of its keys; one line for mistakes."""

import dataclasses
import os
import re
import stat
from collections.abc import Mapping
from typing import Any

from asyncrev.command.config_lines import Path, lines_of
from asyncrev.errors import SettingsError

__all__ = ["MOST_BYTES", "Document", "parse_document", "read_document"]

MOST_BYTES = 1 << 20  # of a file; a wrong one may be a log, say

_NOT_WAITING = os.O_NONBLOCK | os.O_NOCTTY

_PLACE = re.compile(r"(.*?) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
_UNQUOTED = re.compile(r"""\s*[\w.'"-]+\s*=\s*[^\s"'\[{#]""")
_LACKS_QUOTES = ("Expected newline or end of document after a statement", "Invalid value")
_UNQUOTED_HINT = 'text and numbers with a unit need quotes, as "line" or "64K"'


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """What a file has.

    Attributes:
        name: of the file, for messages.
        data: its tables and keys.
        lines: where each table and key is first named, by paths of one or two parts.
    """

    name: str
    data: Mapping[str, Any]
    lines: Mapping[Path, int]

    def place(self, *path: str) -> str:
        """Return "asyncrev.toml:3", or the name alone if the line is not known."""
        line = self.lines.get(path)
        return self.name if line is None else f"{self.name}:{line}"


def read_document(path: str) -> Document:
    """Read the file.

    Raises:
        SettingsError: it cannot be read, or is not TOML in UTF-8; the message is one line.
    """
    try:
        content = _content_of(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"--config {path}: {reason}") from None
    if content is None:
        raise SettingsError(
            f"--config {path}: it is no regular file; give one, which a reload can read again"
        )
    if len(content) > MOST_BYTES:
        raise SettingsError(
            f"--config {path}: it has more than {MOST_BYTES} bytes; is it the file?"
        )
    try:
        text = content.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"{path}:{line}: byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as "
            "UTF-8"
        ) from None
    return parse_document(path, text)


def _content_of(path: str) -> bytes | None:
    """Return the beginning of a file, one byte more than is allowed; None if it is no regular one.

    It is opened without waiting, because a FIFO would be waited for until somebody writes.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _NOT_WAITING)) as file:
        is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        return file.read(MOST_BYTES + 1) if is_regular else None


def parse_document(name: str, text: str) -> Document:
    """Parse `text`, the content of the file `name`.

    Raises:
        SettingsError: as `read_document`.
    """
    import tomllib  # few servers have a file

    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise SettingsError(f"{name}: arrays or tables are nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, or a number or a date that Python refuses
        raise SettingsError(_syntax_error(name, text, str(error))) from None
    return Document(name, data, lines_of(text))


def _syntax_error(name: str, text: str, said: str) -> str:
    match = _PLACE.fullmatch(said)
    if match is None:
        return f"{name}: it is not TOML: {said}"
    lines = text.replace("\r\n", "\n").split("\n")
    number = int(match[2]) if match[2] else max(1, len(text.rstrip().splitlines()))
    line = lines[number - 1] if number <= len(lines) else ""
    hint = ""
    if match[1] == "Cannot overwrite a value":
        hint = "; the key is given twice"
    elif match[1] in _LACKS_QUOTES and _UNQUOTED.match(line):
        hint = f"; {_UNQUOTED_HINT}"
    return f"{name}:{number}: it is not TOML: {match[1]}{hint}"
