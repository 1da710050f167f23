"""The handling of signals in the command's process, from its first line to its last.

There are three phases. While the process starts, a stop ends it at once, because there is nothing
to drain. While it serves, signals are passed to the loop. Once its exit code is decided, signals no
longer change it. So no signal causes a default action or an exception. This module is imported
before all others, so it imports little.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any

__all__ = ["EXIT_SIGNAL_BASE", "ProcessSignals", "name_of"]

EXIT_SIGNAL_BASE = 128  # plus the signal's number: the convention of shells

# One stop often arrives as two signals: GNU timeout and `tini -g` signal the child and then its
# whole group, and a supervisor may pass on a Ctrl-C that the terminal sends to all processes.
SAME_STOP_S = 0.5

STOPS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGQUIT})
OTHERS = frozenset({signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})


class ProcessSignals:
    """The one owner of this process's handlers for `STOPS` and `OTHERS`. Thread: main.

    A handler runs between any two instructions of the main thread, so it takes no lock: it sets
    plain fields, schedules a callback, or ends the process.

    Attributes:
        owns_process: whether the process ends with what it serves.
        exit_code: the exit code of the process once it is decided, before that None.
    """

    def __init__(
        self, *, owns_process: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.owns_process = owns_process
        self.exit_code: int | None = None
        self._clock = clock
        self._before: dict[int, Any] = {}
        self._deliver: Callable[[int, bool], object] | None = None
        self._early: dict[int, None] = {}  # of OTHERS, before `deliver_to`; an ordered set
        self._stopped_s: float | None = None  # when the first stop came
        self._undeliver: Callable[[], None] | None = None

    def take_over(self) -> None:
        """Install the handlers; idempotent. Call it again after other code may have set one.

        Of `OTHERS`, only signals with the default action, to end the process, are handled: a
        processor's module may use one, and nohup(1) makes SIGHUP ignored, in child processes, too.
        """
        for number in STOPS | OTHERS:
            if number in OTHERS and signal.getsignal(number) != signal.SIG_DFL:
                continue
            before = signal.signal(number, self._on_signal)
            if before != self._on_signal:
                self._before.setdefault(number, before)

    def give_back(self) -> None:
        """Restore the handlers that `take_over` replaced, within another program or after a fork.

        A forked child that kept ours would not end at SIGTERM, and would wake its parent's loop.
        """
        if self._deliver is not None:
            self._deliver = None
            signal.set_wakeup_fd(-1)
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)
        self._before.clear()

    def ignore(self) -> None:
        """Make the kernel drop the signals from now on.

        For the end of the process: the interpreter restores the default action of signals with a
        Python handler before it finalizes, but leaves ignored signals ignored.
        """
        for number in STOPS | OTHERS:
            signal.signal(number, signal.SIG_IGN)

    def deliver_to(
        self, loop: asyncio.AbstractEventLoop, callback: Callable[[int, bool], object]
    ) -> None:
        """Call `callback(number, again)` in `loop` for each signal, until `end`.

        `again`: whether the signal is a stop after the first one. A stop within `SAME_STOP_S` after
        the first counts as the same stop and is not passed on. Signals of `OTHERS` that came
        earlier are passed on now.

        `loop.add_signal_handler` cannot be used, because a loop restores the default actions when
        it closes.
        """
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        loop.add_reader(reading, _empty, reading)
        # The kernel may run the C handler on any thread, so a signal does not always end the loop's
        # poll.
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

        def undeliver() -> None:
            signal.set_wakeup_fd(before)
            loop.remove_reader(reading)
            os.close(reading)
            os.close(writing)

        self._undeliver = undeliver
        self._deliver = lambda number, again: loop.call_soon_threadsafe(callback, number, again)
        for number in list(self._early):
            self._deliver(number, False)
        self._early.clear()

    def end(self, exit_code: int) -> None:
        """Decide the exit code, which signals do not change from now on.

        A stop that comes later than `SAME_STOP_S` ends the process at once, with that code, because
        a thread of the user's code may keep it from ending.
        """
        self.exit_code = exit_code
        self._deliver = None
        undeliver, self._undeliver = self._undeliver, None
        if undeliver is not None:
            undeliver()

    def _on_signal(self, number: int, frame: object) -> None:
        stops, now_s = number in STOPS, self._clock()
        again = stops and self._stopped_s is not None
        if again and self._stopped_s is not None and now_s - self._stopped_s < SAME_STOP_S:
            return
        if stops and not again:
            self._stopped_s = now_s
        if self._deliver is not None:
            self._deliver(number, again)
        elif not stops:
            self._early[number] = None
        elif self.exit_code is None:
            _end_at_once(number)
        elif again:
            os._exit(self.exit_code)


def _empty(reading: int) -> None:
    try:
        os.read(reading, 4096)
    except BlockingIOError:
        pass


def name_of(number: int) -> str:
    """Return the name of a signal, such as SIGTERM."""
    return signal.Signals(number).name


def _end_at_once(number: int) -> None:
    """End a process that has not begun to serve.

    An exception would not do: imports may catch it, and a traceback would be printed.
    """
    if number == signal.SIGTERM:  # supervisors treat death by SIGTERM as a clean stop
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    # After SIGTERM: this is process 1 of a container, which its default action does not end.
    os._exit(EXIT_SIGNAL_BASE + number)
