"""The connections of one worker: those on their way to it, those it has, and how many. Pure."""

import collections
import math
from typing import Any, Protocol

__all__ = ["MOST_UNTAKEN", "NO_DESCRIPTORS_S", "SLOW_TAKE_S", "Ledger"]

SLOW_TAKE_S = 1.0  # a worker that takes nothing for so long gets nothing more for now
NO_DESCRIPTORS_S = 1.0  # a worker that is out of descriptors gets nothing for so long
MOST_UNTAKEN = 64  # the kernel limits descriptors on their way (unix(7), ETOOMANYREFS)


class Closable(Protocol):
    """A socket, as far as it matters here."""

    def close(self) -> None:
        """Give up this copy of it."""


class Ledger:
    """What was given to a worker. Time is an argument. Thread: the loop's.

    Attributes:
        connections: how many it has, by its last beat; also those that it accepted itself.
    """

    def __init__(self, *, accepts_itself: bool = False) -> None:
        """Begin; `accepts_itself`: it has connections that it was not given, too."""
        self.connections = 0
        self._accepts_itself = accepts_itself
        self._untaken: collections.deque[tuple[Any, Any]] = collections.deque()
        self._untaken_s = 0.0  # when it was given the first of these, or has last taken one
        self._next_s = -math.inf  # before that it gets nothing, because it has no descriptors
        self._given = 0  # connections, of which
        self._taken = 0  # it has said that it took them, and
        self._ended = 0  # that they have ended

    def give(self, sock: Closable, address: Any, now_s: float) -> None:
        """Note a connection that is sent to it; our copy stays open until it has taken it."""
        self._given += 1
        if not self._untaken:
            self._untaken_s = now_s
        self._untaken.append((sock, address))

    def note_taken(self, total: int, now_s: float) -> None:
        """Note that it has taken `total` connections so far; our copies of them are closed."""
        while self._taken < total and self._untaken:
            self._taken += 1
            sock, _ = self._untaken.popleft()
            sock.close()
        self._untaken_s = now_s

    def note_untaken(self, total: int, now_s: float) -> list[tuple[Any, Any]]:
        """Return the connection that it has no descriptor for, the `total`th, with its address.

        Another worker may serve it. This one gets nothing more for a while, because it would have
        the fewest connections of all, and get every one.
        """
        self.note_taken(total - 1, now_s)
        self._next_s = now_s + NO_DESCRIPTORS_S
        if not self._untaken:  # somebody else has it already
            return []
        self._taken += 1
        self._given -= 1
        return [self._untaken.popleft()]

    def note_beat(self, connections: int, ended: int) -> None:
        """Note how many it has, and how many of those it was given have ended so far."""
        self.connections = connections
        # A socket may be counted twice for a moment, as it becomes a connection.
        self._ended = max(self._ended, ended)

    def take_untaken(self) -> list[tuple[Any, Any]]:
        """Return the connections that it has not taken, once, in their order, with addresses."""
        untaken = list(self._untaken)
        self._untaken.clear()
        return untaken

    @property
    def load(self) -> int:
        """How many connections it has or is about to have."""
        load = self._given - self._ended
        return max(load, self.connections) if self._accepts_itself else load

    @property
    def has_room(self) -> bool:
        """Whether another one can be on its way to it."""
        return len(self._untaken) < MOST_UNTAKEN

    def takes_nothing(self, now_s: float) -> bool:
        """Whether others serve sooner: it has no descriptors, or does not move, perhaps."""
        if now_s < self._next_s:
            return True
        return bool(self._untaken) and now_s - self._untaken_s >= SLOW_TAKE_S
