"""How late an event loop is: what a server's own timers, and so its users, get to feel.

The runner passes a socket to servers that can note this. It sends `BEGIN` before a load and `END`
after it, and gets the notes of that time as a line of JSON. Between loads nothing is noted, so a
server that waits for its turn takes no CPU time.
"""

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable

__all__ = ["BEGIN", "DESCRIPTOR_VARIABLE", "END", "LagProbe", "obey_runner"]

# Has the number of the descriptor over which the runner asks.
DESCRIPTOR_VARIABLE = "ASYNCREV_BENCHMARK_NOTES"
BEGIN, END = b"b", b"e"

EVERY_S = 0.01


class LagProbe:
    """Asks to be called every 10 ms, and notes by how much each call was late.

    uvloop counts whole milliseconds, so there up to 1 ms belongs to the clock.

    Attributes:
        looks: what was noted: when (CLOCK_MONOTONIC, s), how late (us), and what `counters` said.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, counters: Callable[[], object] | None = None
    ) -> None:
        self.looks: list[tuple[float, float, object]] = []
        self._loop = loop
        self._counters = counters
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Forget what was noted, and begin to look."""
        self.end()
        self.looks = []
        self._wait()

    def end(self) -> None:
        """Look no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._due_s = time.monotonic() + EVERY_S
        self._timer = self._loop.call_later(EVERY_S, self._look)

    def _look(self) -> None:
        now_s = time.monotonic()
        counters = None if self._counters is None else self._counters()
        self.looks.append((now_s, max(0.0, 1e6 * (now_s - self._due_s)), counters))
        self._wait()


def obey_runner(probe: LagProbe, loop: asyncio.AbstractEventLoop) -> None:
    """Begin and end as the runner says, and give it the notes; do nothing without a runner."""
    number = os.environ.get(DESCRIPTOR_VARIABLE)
    if number is None:
        return
    runner = socket.socket(fileno=int(number))

    def obey() -> None:
        word = runner.recv(1)
        if word == BEGIN:
            probe.begin()
            runner.sendall(b"\n")  # so that nothing is measured before
        elif word == END:
            probe.end()
            runner.sendall(json.dumps(probe.looks).encode() + b"\n")
        else:
            loop.remove_reader(runner)
            runner.close()

    loop.add_reader(runner, obey)
