"""When something that has died is started again, and when the service gives up. Pure."""

import collections

__all__ = ["Backoff", "DeathCount"]

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
HEALTHY_AFTER_S = 60.0
WINDOW_S = 60.0


class Backoff:
    """The delays of one slot: each twice the one before, from the start again after a good time."""

    def __init__(self) -> None:
        self._next_s = FIRST_DELAY_S

    def delay_s(self, served_s: float) -> float:
        """Return how long to wait after a death.

        Args:
            served_s: how long the worker was ready; 0 if it never was.
        """
        if served_s >= HEALTHY_AFTER_S:
            self._next_s = FIRST_DELAY_S
        delay_s, self._next_s = self._next_s, min(2 * self._next_s, LONGEST_DELAY_S)
        return delay_s


class DeathCount:
    """Counts the deaths of all workers by cause, and those within `WINDOW_S`."""

    def __init__(self, limit: int) -> None:
        """Count up to `limit` deaths within the window; 0 for no limit."""
        self._limit = limit
        self._times_s: collections.deque[float] = collections.deque(maxlen=max(1, limit))
        self.by_cause: collections.Counter[str] = collections.Counter()

    def note(self, now_s: float, cause: str) -> bool:
        """Take note of a death; return whether the limit is reached."""
        self.by_cause[cause] += 1
        self._times_s.append(now_s)
        full = 0 < self._limit == len(self._times_s)
        return full and now_s - self._times_s[0] < WINDOW_S
