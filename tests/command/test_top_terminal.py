"""top_terminal: keys, screens, and a terminal that is put back whatever happens."""

import io
import os
import pty
import signal
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from asyncrev.command.top_terminal import Terminal, TopEnded
from tests.support import DEADLINE_S, wait_until

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)


class Pty:
    """A pair of ends, of which this process takes one for its stdin and stdout."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.output = io.StringIO()
        self.before = termios.tcgetattr(self.theirs)

    def shown(self) -> Terminal:
        return Terminal(self.theirs, self.output)

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    @property
    def is_as_before(self) -> bool:
        left = self.output.getvalue().endswith("\x1b[?25h\x1b[?1049l")
        return left and termios.tcgetattr(self.theirs) == self.before


@pytest.fixture
def terminal() -> Iterator[Pty]:
    made = Pty()
    handlers = {number: signal.getsignal(number) for number in HANDLED}
    yield made
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for end in (made.ours, made.theirs):
        os.close(end)


def soon() -> float:
    return time.monotonic() + DEADLINE_S


def test_key_is_returned_without_return(terminal: Pty) -> None:
    """None until the time is over is "", and a sequence is no key."""
    with terminal.shown() as shown:
        assert termios.tcgetattr(terminal.theirs) != terminal.before
        terminal.type("c")
        assert shown.key(soon()) == "c"
        assert shown.key(time.monotonic()) == ""
        assert shown.key(time.monotonic() - 5) == ""
        terminal.type("\x1b[A")
        assert shown.key(soon()) == "?"
        terminal.type("ä")
        assert shown.key(soon()) == "?"
    assert terminal.is_as_before


def test_screen_replaces_the_one_before(terminal: Pty) -> None:
    """Line by line, so that it does not flicker."""
    with terminal.shown() as shown:
        assert terminal.output.getvalue() == "\x1b[?1049h\x1b[?25l"
        shown.show("a\nb\n")
        assert terminal.output.getvalue().endswith("\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J")
    assert terminal.is_as_before


@pytest.mark.parametrize("number", HANDLED[:4])
def test_signal_ends_it_and_a_second_one_does_nothing(terminal: Pty, number: int) -> None:
    """It is put back in between."""

    def work() -> None:
        with terminal.shown() as shown:
            try:
                signal.raise_signal(number)
            finally:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(number)
            shown.key(soon())

    with pytest.raises(TopEnded) as caught:
        work()
    assert caught.value.number == number
    assert terminal.is_as_before


def test_error_puts_it_back(terminal: Pty) -> None:
    """So that its traceback can be read."""
    with pytest.raises(ZeroDivisionError), terminal.shown():
        raise ZeroDivisionError
    assert terminal.is_as_before


def test_failed_begin_puts_it_back(terminal: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a signal came then."""

    def fail(*_: Any) -> None:
        raise TopEnded(signal.SIGTERM)

    monkeypatch.setattr("tty.setcbreak", fail)
    with pytest.raises(TopEnded), terminal.shown():
        raise AssertionError("it has not begun")
    assert terminal.is_as_before


def test_gone_terminal_is_the_end(terminal: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of SIGHUP."""
    with terminal.shown() as shown:
        monkeypatch.setattr(os, "read", lambda *_: b"")
        terminal.type("x")
        with pytest.raises(TopEnded) as caught:
            shown.key(soon())
    assert caught.value.number == signal.SIGHUP


def test_suspended_process_leaves_the_terminal_to_the_shell(
    terminal: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And takes it again when it goes on."""
    seen: list[Any] = []

    def stop(pid: int, number: int) -> None:
        seen.append((pid, number, terminal.is_as_before))

    with terminal.shown() as shown:
        monkeypatch.setattr(os, "kill", stop)
        signal.raise_signal(signal.SIGTSTP)
        wait_until(lambda: seen, "it has stopped")
        assert seen == [(os.getpid(), signal.SIGSTOP, True)]
        assert terminal.output.getvalue().endswith("\x1b[?1049h\x1b[?25l")
        terminal.type("q")
        assert shown.key(soon()) == "q"
    assert terminal.is_as_before
