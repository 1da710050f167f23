"""How late an event loop is: what a server's own timers, and so its users, get to feel."""

import asyncio
import json
import os
import time
from collections.abc import Callable

__all__ = ["TELL_VARIABLE", "LagProbe", "tell"]

# Names a file; a server that finds it writes what it knows of itself there when it is stopped.
TELL_VARIABLE = "ASYNCREV_BENCHMARK_TELL"

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

    def start(self) -> None:
        """Begin to look, until the loop ends."""
        self._due_s = time.monotonic() + EVERY_S
        self._loop.call_later(EVERY_S, self._look)

    def _look(self) -> None:
        now_s = time.monotonic()
        counters = None if self._counters is None else self._counters()
        self.looks.append((now_s, max(0.0, 1e6 * (now_s - self._due_s)), counters))
        self.start()


def tell(probe: LagProbe) -> None:
    """Write what was noted where the runner asked for it; do nothing if nobody asked."""
    path = os.environ.get(TELL_VARIABLE)
    if path is not None:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(probe.looks, file)
