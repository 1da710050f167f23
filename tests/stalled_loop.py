"""A loop in virtual time that stands still when a test says so."""

import functools
import heapq
import types
from collections.abc import Callable
from typing import Any

__all__ = ["StalledLoop"]


class StalledLoop:
    """A loop in virtual time that runs and stalls; it counts the time in which it ran."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.ran_s = 0.0
        self._calls = 0
        self.timers: list[tuple[float, int, Callable[[], None]]] = []

    def time(self) -> float:
        """Return the time, stalls included."""
        return self.now_s

    def call_soon(self, callback: Callable[..., None], *args: Any) -> Any:
        """Call `callback` in the next iteration."""
        return self.call_later(0.0, callback, *args)

    def call_later(self, delay_s: float, callback: Callable[..., None], *args: Any) -> Any:
        """Call `callback` at the first moment at which the loop runs from then on."""
        assert delay_s >= 0
        self._calls += 1
        timer = (self.now_s + delay_s, self._calls, functools.partial(callback, *args))
        heapq.heappush(self.timers, timer)

        return types.SimpleNamespace(cancel=lambda: self._cancel(timer))

    def _cancel(self, timer: Any) -> None:
        if timer in self.timers:
            self.timers.remove(timer)
            heapq.heapify(self.timers)

    def run(self, seconds: float) -> None:
        """Run what is due now and in the next `seconds`."""
        end_s = self.now_s + seconds
        while self.timers and self.timers[0][0] <= end_s:
            due_s, _, callback = heapq.heappop(self.timers)
            if due_s > self.now_s:
                self.ran_s += due_s - self.now_s
                self.now_s = due_s
            callback()
        self.ran_s += end_s - self.now_s
        self.now_s = end_s

    def stall(self, seconds: float) -> None:
        """Let time pass without running anything."""
        self.now_s += seconds
