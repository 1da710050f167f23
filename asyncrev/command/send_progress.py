"""How far `asyncrev send` is: a line on stderr that replaces itself, for input that takes long."""

import os
import stat
import sys
import time

from asyncrev.command.units import format_bytes

__all__ = ["Progress", "total_bytes"]

_FIRST_AFTER_S = 1.0
_EVERY_S = 0.25
_KIB = 1024


class Progress:
    """Writes the line, if stderr is a terminal and stdout is not. Thread: one."""

    def __init__(self, total_bytes: int | None = None) -> None:
        """`total_bytes`: the length of the input, if it is known."""
        self._total_bytes = total_bytes
        self._next_s = time.monotonic() + _FIRST_AFTER_S
        self._is_wanted = os.isatty(sys.stderr.fileno()) and not os.isatty(1)
        self._is_shown = False

    def note(self, sent_bytes: int, received_bytes: int) -> None:
        """Write the line, unless the last one is recent."""
        if not self._is_wanted or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + _EVERY_S
        self._is_shown = True
        of_all = f" ({100 * sent_bytes // self._total_bytes} %)" if self._total_bytes else ""
        line = f"sent {_round(sent_bytes)}{of_all}, received {_round(received_bytes)}"
        self._write(f"\r{line}\x1b[K")

    def clear(self) -> None:
        """Remove the line."""
        if self._is_shown:
            self._write("\r\x1b[K")
            self._is_shown = False

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            self._is_wanted = False  # the terminal is gone; the reply goes on


def _round(nbytes: int) -> str:
    """Return a length with whole KiB or MiB."""
    unit = _KIB * _KIB if nbytes >= 10 * _KIB * _KIB else _KIB
    return format_bytes(nbytes // unit * unit)


def total_bytes(fd: int) -> int | None:
    """Return how much is left to read from a file; None for a pipe or terminal."""
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            return status.st_size - os.lseek(fd, 0, os.SEEK_CUR)
    except OSError:
        pass  # a descriptor that is no file; its length is not known
    return None
