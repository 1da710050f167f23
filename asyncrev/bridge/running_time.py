"""Time in which the loop ran: what deadlines count, so that nobody pays for our own lateness.

A process that is stopped (SIGSTOP, a paused virtual machine), a callback that blocks the loop and
an extension that holds the GIL have one effect: the loop does not run, while its clock goes on.
When it runs again, every deadline seems to have passed, although what the peers sent in time lies
in the kernel. So deadlines are counted on a clock that is read at planned intervals. Of the time
between two readings it counts at most what was planned; and where far more went by, so that nobody
can tell how much of the interval the loop ran at all, it counts nothing. What it cannot see is a
stall that ends before the next reading is due; that is for the look at the socket (`deadlines`).

Peers cannot stretch a deadline with that: only time in which no callback of the loop could run
is left out, and of two intervals one is counted in any case. So a deadline passes after at most
twice as many intervals as it has, however late each of them is.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

__all__ = ["LONGEST_STEP_S", "RunningClock", "RunningTimer", "running_timeout", "step_of"]

# Between two readings. Shorter ones would tell better how long the loop ran before a stall; at one
# a second, ten thousand handshakes or lingering connections take 2 % of a core.
LONGEST_STEP_S = 1.0

# An interval that took more than this many times its planned length is a stall. Less is what a
# busy loop or machine does all the time; that much is left out anyway, as far as it is late.
_STALL = 1.5

# uvloop counts whole milliseconds, so at a timer's end its clock may show a little less.
_TICK_S = 0.001


def step_of(delay_s: float) -> float:
    """Return how often to read the clock for deadlines of `delay_s` and more."""
    return min(LONGEST_STEP_S, delay_s / 4)


class RunningClock:
    """A clock that stands still while the loop does not run. Time is an argument.

    Attributes:
        now_s: the time at the last reading; starts with the loop's, falls back behind it.
    """

    __slots__ = ("_excused_at_s", "_read_at_s", "now_s")

    def __init__(self, loop_s: float) -> None:
        self.now_s = loop_s
        self._read_at_s = loop_s
        self._excused_at_s = float("-inf")

    def read(self, loop_s: float, planned_s: float) -> float:
        """Return the time now.

        Args:
            loop_s: the loop's time.
            planned_s: how long after the last reading this one was to come.
        """
        passed_s = loop_s - self._read_at_s
        self._read_at_s = loop_s
        # One stall is excused as a whole, the next only when as much as planned has been counted.
        if passed_s > _STALL * planned_s and self.now_s - self._excused_at_s >= planned_s:
            self._excused_at_s = self.now_s
        else:
            self.now_s += min(passed_s, planned_s)
        return self.now_s


class RunningTimer:
    """Calls back once the loop has run for `delay_s`. All methods: the loop's thread.

    It is late by what the loop was late, and by at most one step (a quarter of `delay_s`, at most
    a second) for each stall. It is early by at most one step for a stall that is too short to be
    seen, and for one that follows another at once.
    """

    __slots__ = ("_callback", "_clock", "_due_s", "_handle", "_loop", "_planned_s", "_step_s")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, delay_s: float, callback: Callable[[], object]
    ) -> None:
        self._loop = loop
        self._callback: Callable[[], object] | None = callback
        self._clock = RunningClock(loop.time())
        self._due_s = self._clock.now_s + delay_s
        self._step_s = step_of(delay_s)
        self._plan()

    def cancel(self) -> None:
        """Call back no more; idempotent."""
        self._handle.cancel()
        self._callback = None

    def _plan(self) -> None:
        self._planned_s = min(self._step_s, self._due_s - self._clock.now_s)
        self._handle = self._loop.call_later(self._planned_s, self._step)

    def _step(self) -> None:
        now_s = self._clock.read(self._loop.time(), self._planned_s)
        if now_s < self._due_s - _TICK_S:
            self._plan()
            return
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


@contextlib.asynccontextmanager
async def running_timeout(delay_s: float) -> AsyncIterator[None]:
    """Bound a block to `delay_s` in which the loop runs, as `asyncio.timeout` does to any.

    Raises:
        TimeoutError: that time has passed; the block was cancelled.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as timeout:
        timer = RunningTimer(loop, delay_s, lambda: timeout.reschedule(loop.time()))
        try:
            yield
        finally:
            timer.cancel()
