"""How many of a server's connections are within their TLS handshake, and who waits to begin it.

A semaphore with a FIFO queue that can be left. What it lets in is a connection's business.

  I25  at most `most` places are taken; nobody waits while one is free; places are given in the
       order in which they were asked for
"""

import collections
from collections.abc import Callable

__all__ = ["HandshakeGate", "Place"]


class HandshakeGate:
    """Gives places to those who ask. All methods: the loop's thread.

    Attributes (written here only):
        within_high: the most places that were taken at once.
        waiting_high: the most that waited at once.
        waited: how many had to wait so far.
    """

    def __init__(self, most: int, on_wait: Callable[[bool], None] = lambda waits: None) -> None:
        """Prepare a gate with `most` places, 1 or more.

        `on_wait`: called with whether any wait when that has changed; must not raise.
        """
        self._most = most
        self._on_wait = on_wait
        self._within: set[Place] = set()
        # Ordered, because a dict whose first key is deleted again and again gets slow.
        self._waiting: collections.OrderedDict[Place, None] = collections.OrderedDict()
        self.within_high = 0
        self.waiting_high = 0
        self.waited = 0

    @property
    def within(self) -> int:
        """How many places are taken."""
        return len(self._within)

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether who asks now has to wait."""
        return len(self._within) >= self._most

    def place(self, let_in: Callable[[], None]) -> "Place":
        """Return a place that can be taken. See `Place`."""
        return Place(self, let_in)

    def _take(self, place: "Place") -> bool:
        if place in self._within:
            return True
        if not self.is_full:
            self._give(place)
            return True
        if place not in self._waiting:
            self._waiting[place] = None
            self.waited += 1
            self.waiting_high = max(self.waiting_high, len(self._waiting))
            if len(self._waiting) == 1:
                self._on_wait(True)
        return False

    def _leave(self, place: "Place") -> None:
        any_waited = bool(self._waiting)
        self._waiting.pop(place, None)
        self._within.discard(place)
        while self._waiting and not self.is_full:
            first, _ = self._waiting.popitem(last=False)
            self._give(first)
            first.let_in()
        if any_waited and not self._waiting:
            self._on_wait(False)

    def _give(self, place: "Place") -> None:
        self._within.add(place)
        self.within_high = max(self.within_high, len(self._within))


class Place:
    """A place of one connection, which it has not asked for yet. All methods: the loop's thread.

    Attributes:
        let_in: called once if the place was waited for, when it is taken. Must not raise, nor call
            a method of a place.
    """

    __slots__ = ("_gate", "let_in")

    def __init__(self, gate: HandshakeGate, let_in: Callable[[], None]) -> None:
        """Prepare a place at `gate`."""
        self._gate = gate
        self.let_in = let_in

    @property
    def is_taken(self) -> bool:
        """Whether it counts as one of the places."""
        return self in self._gate._within

    @property
    def is_open(self) -> bool:
        """Whether `take` would not wait."""
        return self.is_taken or not self._gate.is_full

    @property
    def is_wanted(self) -> bool:
        """Whether it is taken, and another connection waits for one."""
        return self.is_taken and self._gate.waiting > 0

    def take(self) -> bool:
        """Take the place, or else wait for it; return whether it is taken. Idempotent."""
        return self._gate._take(self)

    def leave(self) -> None:
        """Give the place back, or wait no more. Idempotent. Another may be let in."""
        self._gate._leave(self)
