"""A terminal that shows one screen after another, takes single keys, and is put back as it was."""

import os
import select
import signal
import sys
import termios
import time
import tty
from types import FrameType
from typing import Any, TextIO

__all__ = ["Terminal", "TopEnded"]

# Another screen without a cursor, and back (xterm's control sequences).
_ENTER = "\x1b[?1049h\x1b[?25l"
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class TopEnded(BaseException):
    """A signal asks for the end; raised once, wherever the main thread is.

    Attributes:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Terminal:
    """The terminal of this process: `with Terminal() as terminal: ...`. Thread: main.

    Whatever ends the block, the terminal is as it was before: the first signal raises `TopEnded`,
    and further ones are ignored.
    """

    def __init__(self, input_fd: int | None = None, output: TextIO | None = None) -> None:
        """Prepare for a terminal: `input_fd` and `output`, else stdin and stdout, are its."""
        self._input = sys.stdin.fileno() if input_fd is None else input_fd
        self._output = sys.stdout if output is None else output
        self._saved: list[Any] | None = None
        self._signals: dict[int, Any] = {}  # the handlers that there were

    def __enter__(self) -> "Terminal":
        try:
            for number in _ENDS:
                self._signals[number] = signal.signal(number, self._on_end)
            self._signals[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._on_suspend)
            # A program in the background is stopped when it writes; a resize only redraws sooner.
            self._saved = termios.tcgetattr(self._input)
            self._begin()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def show(self, text: str) -> None:
        """Replace what is on the screen by the lines of `text`, which must fit."""
        lines = text.rstrip("\n").split("\n")
        body = f"{_END_OF_LINE}\r\n".join(lines)
        self._write(f"{_HOME}{body}{_END_OF_LINE}{_END_OF_SCREEN}")

    def key(self, until_s: float) -> str:
        """Return the next key, or "" if none comes until `until_s` of the monotonic clock.

        Raises:
            TopEnded: stdin has ended, because the terminal has gone.
        """
        wait_s = max(0.0, until_s - time.monotonic())
        ready, _, _ = select.select([self._input], [], [], wait_s)
        if not ready:
            return ""
        data = os.read(self._input, 64)
        if not data:
            raise TopEnded(signal.SIGHUP)
        # A key that sends a sequence, such as an arrow, is none that is known here.
        return data.decode("ascii", "replace") if len(data) == 1 else "?"

    def _begin(self) -> None:
        tty.setcbreak(self._input, termios.TCSADRAIN)
        self._write(_ENTER)

    def _leave(self) -> None:
        try:
            for ending in (*_ENDS, signal.SIGTSTP):
                signal.signal(ending, signal.SIG_IGN)
        finally:
            self._restore()
            for number, before in self._signals.items():
                if number not in _ENDS:
                    signal.signal(number, before)

    def _restore(self) -> None:
        if self._saved is None:
            return
        try:
            self._write(_LEAVE)
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._saved)
        except (OSError, termios.error):
            pass  # it has gone

    def _on_end(self, number: int, _: FrameType | None) -> None:
        for other in _ENDS:
            signal.signal(other, signal.SIG_IGN)
        raise TopEnded(number)

    def _on_suspend(self, *_: object) -> None:
        """Stop as the shell asks for (Ctrl-Z), with the terminal as the shell knows it."""
        self._restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._begin()

    def _write(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()
