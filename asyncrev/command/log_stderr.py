"""stderr as JSON lines: what is written to it past the log, and what the interpreter reports there.

`print`, warnings, other libraries' handlers and the hooks of threads and finalisers come through
`sys.stderr`. What native code or another process writes to the descriptor does not.
"""

import contextlib
import io
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

from asyncrev.command.log_output import BackgroundWriter

__all__ = ["MOST_WRITE_BYTES", "JsonStderr", "logging_hooks"]

logger = logging.getLogger("asyncrev")

MOST_WRITE_BYTES = 64 * 1024  # of one message; what is longer becomes several


class _Lines(io.RawIOBase):
    """Passes on what was written up to a line end as the message of one record."""

    def __init__(self, writer: BackgroundWriter, fd: int) -> None:
        super().__init__()
        self._writer = writer
        self._fd = fd
        self._lock = threading.RLock()  # a finaliser may write meanwhile
        self._begun = b""  # guarded by _lock: what has no line end yet
        self._is_direct = False  # writer: main; readers: any

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any) -> int:
        """Keep `data`; a write that ends with a line end completes a message. Thread: any."""
        given = bytes(data)
        with self._lock:
            text = self._begun + given
            if not text.endswith(b"\n") and len(text) < MOST_WRITE_BYTES:
                self._begun = text
                return len(given)
            self._begun = b""
        self._pass_on(text)
        return len(given)

    def end(self) -> None:
        """Write to the descriptor from now on, first what has no line end yet. Thread: main."""
        with self._lock:
            text, self._begun = self._begun, b""
            self._is_direct = True
        with contextlib.suppress(OSError):  # a full disk must not change the exit code
            self._pass_on(text)

    def _pass_on(self, text: bytes) -> None:
        # Without the lock: the writer has one, too, and a finaliser that prints may come within it.
        for at in range(0, len(text), MOST_WRITE_BYTES):
            piece = text[at : at + MOST_WRITE_BYTES].decode(errors="backslashreplace")
            if not piece.strip():
                continue
            record = logging.LogRecord("stderr", logging.NOTSET, "", 0, "%s", (piece,), None)
            line = self._writer.formatter.format(record).encode() + b"\n"
            if self._is_direct:
                os.write(self._fd, line)
            else:
                self._writer.put(line)


class JsonStderr:
    """Takes the place of `sys.stderr`; each text that ends with a line end becomes a record.

    Its level is NOTSET, and its logger "stderr": what has been written does not tell them.
    """

    def __init__(self, writer: BackgroundWriter, fd: int) -> None:
        """Prepare to write to `writer`, whose descriptor is `fd`."""
        self._lines = _Lines(writer, fd)
        raw: Any = self._lines  # it need not be buffered, with write_through
        self.stream: TextIO = io.TextIOWrapper(
            raw,
            encoding="utf-8",
            errors="backslashreplace",
            write_through=True,
        )
        self._before: Any = None

    def take_over(self) -> None:
        """Become `sys.stderr`. Thread: main."""
        self._before = sys.stderr
        sys.stderr = self.stream

    def give_back(self) -> None:
        """Make `sys.stderr` what it was, unless somebody else has replaced it. Thread: main.

        Who still has the stream writes to the descriptor, the same lines as before.
        """
        self._lines.end()
        if sys.stderr is self.stream:
            sys.stderr = self._before


def logging_hooks() -> Callable[[], None]:
    """Log what the interpreter would print of threads and finalisers; return what ends that.

    Hooks that a program has set stay.
    """
    ends: list[Callable[[], None]] = []
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _on_thread_error
        ends.append(lambda: _restore(threading, "excepthook", _on_thread_error))
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _on_unraisable
        ends.append(lambda: _restore(sys, "unraisablehook", _on_unraisable))

    def end() -> None:
        for step in ends:
            step()

    return end


def _restore(module: Any, name: str, ours: object) -> None:
    if getattr(module, name) is ours:
        setattr(module, name, getattr(module, f"__{name}__"))


def _on_thread_error(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit:
        return  # as the interpreter's own hook does
    name = args.thread.name if args.thread is not None else "?"
    error = (args.exc_type, args.exc_value, args.exc_traceback)
    logger.error("exception in thread %s", name, exc_info=error)  # type: ignore[arg-type]


def _on_unraisable(args: "sys.UnraisableHookArgs") -> None:
    what = args.err_msg or "exception ignored in"
    error = (args.exc_type, args.exc_value, args.exc_traceback)
    logger.error("%s: %r", what, args.object, exc_info=error)  # type: ignore[arg-type]
