"""The sweep: one timer for all lanes of a bridge, instead of one for each connection."""

import asyncio
from collections.abc import Callable

from asyncrev.lane import Lane

__all__ = ["SWEEP_LANES", "SWEEP_S", "Sweep"]

SWEEP_S = 1.0  # at most; a quarter of the shortest deadline, if that is less
SWEEP_LANES = 256  # looked at in one turn: 0.5 ms


class Sweep:
    """Looks at those of `lanes` that want it (`Lane.look_at_s`). All methods: the loop's thread.

    It runs while there are lanes, in steps between which the loop turns.
    """

    __slots__ = ("_lanes", "_look", "_loop", "_timer", "interval_s")

    def __init__(
        self, lanes: set[Lane], look: Callable[[Lane, float], None], shortest_deadline_s: float
    ) -> None:
        """Prepare; `look` is called with a lane and the loop's time, and must not raise."""
        self._lanes = lanes
        self._look = look
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.Handle | None = None
        self.interval_s = min(SWEEP_S, shortest_deadline_s / 4)

    @property
    def is_running(self) -> bool:
        """Whether it will look again."""
        return self._timer is not None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look from now on; without effect while it runs."""
        if self._timer is None:
            self._loop = loop
            self._timer = loop.call_later(self.interval_s, self.run)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def run(self) -> None:
        """Begin a sweep now."""
        assert self._loop is not None
        now_s = self._loop.time()
        # Most of ten thousand idle lanes are passed over here, at 50 ns each.
        self._go_on([lane for lane in self._lanes if lane.look_at_s <= now_s])

    def _go_on(self, lanes: list[Lane]) -> None:
        assert self._loop is not None
        self._timer = self._loop.call_soon(self._go_on, lanes)  # also in case that `look` stops it
        now_s = self._loop.time()
        for lane in lanes[-SWEEP_LANES:]:
            self._look(lane, now_s)
        del lanes[-SWEEP_LANES:]
        if lanes or not self.is_running:
            return
        self.stop()
        if self._lanes:
            self.start(self._loop)
