"""The sweep: one timer for all lanes of a bridge, instead of one for each connection."""

import asyncio
from collections.abc import Callable

from asyncrev.bridge.lane import Lane
from asyncrev.bridge.lanes import Lanes
from asyncrev.bridge.running_time import LONGEST_STEP_S, RunningClock, step_of

__all__ = ["SWEEP_LANES", "SWEEP_S", "Sweep"]

SWEEP_S = LONGEST_STEP_S  # at most; a quarter of the shortest deadline, if that is less
SWEEP_LANES = 256  # looked at in one iteration: 0.5 ms


class Sweep:
    """Looks at those of `lanes` that want it (`Lane.look_at_s`). All methods: the loop's thread.

    It runs while there are lanes, in steps between which the loop iterates. Its time is that in
    which the loop ran (`RunningClock`), so after a stall no deadline has moved.
    """

    __slots__ = ("_clock", "_lanes", "_look", "_loop", "_timer", "interval_s")

    def __init__(
        self, lanes: Lanes, look: Callable[[Lane, float], None], shortest_deadline_s: float
    ) -> None:
        """Prepare; `look` is called with a lane and the sweep's time, and must not raise."""
        self._lanes = lanes
        self._look = look
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.Handle | None = None
        self._clock: RunningClock | None = None
        self.interval_s = step_of(shortest_deadline_s)

    @property
    def is_running(self) -> bool:
        """Whether it will look again."""
        return self._timer is not None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look from now on; without effect while it runs."""
        if self._timer is None:
            self._loop = loop
            if self._clock is None:
                self._clock = RunningClock(loop.time())
            self._timer = loop.call_later(self.interval_s, self.run)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def run(self) -> None:
        """Begin a sweep now."""
        self._go_on(self._lanes.due(self._now_s()))

    def _go_on(self, lanes: list[Lane]) -> None:
        assert self._loop is not None
        self._timer = self._loop.call_soon(self._go_on, lanes)  # also in case that `look` stops it
        now_s = self._now_s()
        for lane in lanes[-SWEEP_LANES:]:
            self._look(lane, now_s)
        del lanes[-SWEEP_LANES:]
        if lanes or not self.is_running:
            return
        self.stop()
        if self._lanes:
            self.start(self._loop)

    def _now_s(self) -> float:
        # Between the steps of a sweep, too, up to an interval counts: those are planned to take
        # as long as the loop's other work does.
        assert self._loop is not None
        assert self._clock is not None
        return self._clock.read(self._loop.time(), self.interval_s)
