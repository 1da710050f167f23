"""The text of log records: bounded in length, and escaped so that peers cannot forge records.

Peers choose parts of what is logged, such as names of UNIX sockets and frames in exceptions. These
parts can neither begin a line that looks like a record nor send control sequences to a terminal.
"""

import logging

__all__ = [
    "MOST_CHARACTERS",
    "RecordFormatter",
    "bounded",
    "name_of_peer",
    "one_line",
    "printable",
    "shorten_to",
]

# What is kept of one record: its beginning, and less of its end, where a traceback has the
# exception.
MOST_CHARACTERS = 8192
TAIL_CHARACTERS = MOST_CHARACTERS // 4

# Before each line of a record except the first, which begins with a digit.
INDENT = "    "


def one_line(text: str) -> str:
    """Return `text` as one line of printable characters, with single spaces between its words."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    r"""Return `text` with everything that is not printable escaped, as `repr` does: \n, \x1b.

    Escaped are control characters, separators other than a space, marks that change the direction
    of writing, and code points without a character (`str.isprintable`).
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def shorten_to(text: str, most_characters: int, tail_characters: int, gone: int = 0) -> str:
    """Return `text`; if it is too long, its middle is replaced by the number of characters.

    `gone`: how many characters of the middle were left out before.
    """
    left_out = len(text) - most_characters
    if left_out <= 0:
        return text
    head, tail = text[: most_characters - tail_characters], text[len(text) - tail_characters :]
    return f"{head} ... {left_out + gone} more characters ... {tail}"


def bounded(text: str, between: str = "\n") -> str:
    """Return `text` with its lines escaped as by `printable`, and at most `MOST_CHARACTERS` of it.

    `between`: what stands between two lines.
    """
    if len(text) <= MOST_CHARACTERS and text.isprintable():
        return text  # nearly always
    # Only what is kept of either end is escaped, because that takes a call per character.
    gone = max(0, len(text) - 2 * MOST_CHARACTERS)
    if gone:
        text = text[:MOST_CHARACTERS] + text[-MOST_CHARACTERS:]
    lines = between.join(map(printable, text.split("\n")))
    return shorten_to(lines, MOST_CHARACTERS, TAIL_CHARACTERS, gone)


def name_of_peer(address: object) -> str:
    """Return a peer's address, as a socket gives it, for messages.

    The address of a UNIX socket is chosen by its owner and may be any bytes, so it is quoted and
    escaped (unix(7)).
    """
    if isinstance(address, tuple):
        host, port = str(address[0]), address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"unix:{address!r}" if address else "unnamed peer"


class RecordFormatter(logging.Formatter):
    """Formats time, level and text; further lines, such as a traceback, are indented."""

    def __init__(self, prefix: str = "") -> None:
        """Begin each text with `prefix`."""
        super().__init__()
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text without a line end. The record is not changed.

        Raises:
            Exception: the record's arguments do not fit its message.
        """
        parts = [record.getMessage()]
        if record.exc_info and record.exc_info[0] is not None:
            parts.append(self.formatException(record.exc_info))
        elif record.exc_text:
            parts.append(record.exc_text)
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        text = "\n".join(parts).rstrip("\n")
        lines = bounded(text, f"\n{INDENT}")
        return f"{self.formatTime(record)} {printable(record.levelname)} {self._prefix}{lines}"
