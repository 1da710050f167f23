"""The age of a connection: when it is drained for it, and what became of that.

Clients that keep a connection for days stay on the server that they found first, whatever a load
balancer would choose now. Time is an argument, as for all deadlines.
"""

import asyncio
import itertools
from collections.abc import Callable

from asyncrev.bridge.running_time import RunningTimer

__all__ = ["AGE_SPREAD", "Age"]

# Connections that began together do not end together, and come back together.
AGE_SPREAD = 0.1

# Multiples of it, without their whole parts, lie evenly between 0 and 1 however many there are; so
# do those of connections that were made one after the other.
_GOLDEN = 0.6180339887498949
_made = itertools.count(1)


class Age:
    """When one connection is old, and the deadline of its drain. Thread: its connection's loop.

    Attributes (written here only):
        old_at_s: on the sweep's clock; the first look begins it. Infinity once that was seen.
        is_draining: whether the connection is drained for its age.
    """

    __slots__ = ("_deadline", "_limit_s", "is_draining", "old_at_s")

    def __init__(self, most_s: float) -> None:
        """Prepare to call a connection old at `most_s` seconds, or up to a tenth less or more."""
        spread = 2 * (next(_made) * _GOLDEN % 1.0) - 1
        self._limit_s = most_s * (1 + AGE_SPREAD * spread)
        self._deadline: RunningTimer | None = None
        self.old_at_s: float | None = None
        self.is_draining = False

    def has_come(self, now_s: float) -> bool:
        """Return whether the connection has become old; True once. Call it at each look."""
        if self.old_at_s is None:
            self.old_at_s = now_s + self._limit_s
        if now_s < self.old_at_s:
            return False
        self.old_at_s = float("inf")
        return True

    def bound(self, look_at_s: float) -> float:
        """Return when to look again, if there is no other reason to before `look_at_s`."""
        return look_at_s if self.old_at_s is None else min(look_at_s, self.old_at_s)

    def begin_drain(self, timeout_s: float, on_late: Callable[[], None]) -> None:
        """Note that the drain begins; `on_late` is called when it has taken `timeout_s`."""
        self.is_draining = True
        self._deadline = RunningTimer(asyncio.get_running_loop(), timeout_s, on_late)

    def end(self) -> None:
        """Note that the connection has ended. Idempotent."""
        if self._deadline is not None:
            self._deadline.cancel()  # which forgets `on_late`: no circle with the connection
            self._deadline = None
