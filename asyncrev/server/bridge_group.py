"""A server's bridges as one: several of its own, or one that it was given.

Each has a ring, a worker and a pool of its own, so nothing is shared between two workers; a
connection stays on the bridge that it was opened on, which was one with the fewest lanes.
"""

import asyncio
import os

from asyncrev.bridge.bridge import Bridge
from asyncrev.bridge.pending import Pending
from asyncrev.errors import SettingsError
from asyncrev.limits import Limits

__all__ = ["BridgeGroup", "most_threads"]


def most_threads() -> int:
    """Return how many bridges one server may have on this machine.

    Processors that compute gain nothing beyond a thread for each core. Those that wait, for a
    disk or another server, gain by more, hence the 64. Each thread has a ring and a pool of its
    own, so a port or a number of connections given by mistake would take all memory.
    """
    return max(64, 4 * (os.cpu_count() or 1))


class BridgeGroup:
    """One bridge or more. All methods: the loop's thread."""

    def __init__(self, limits: Limits, *, threads: int = 1, shared: Bridge | None = None) -> None:
        """Make `threads` bridges, or take `shared`, which is started and closed by its owner.

        Raises:
            SettingsError: `threads` is below 1 or above `most_threads`, or more than 1 with a
                shared bridge.
        """
        if threads < 1 or threads != int(threads):
            raise SettingsError(f"threads is {threads!r}; it must be a whole number >= 1")
        if threads > most_threads():
            raise SettingsError(
                f"threads is {threads}; it must be at most {most_threads()} on this machine, which "
                "is 64, or four times its cores where that is more"
            )
        if shared is not None and threads != 1:
            raise SettingsError(
                f"threads is {threads}; a server on a bridge that it was given has that one's "
                "thread. Leave out one of the two"
            )
        self._owned = shared is None
        self._next = -1
        self.bridges: tuple[Bridge, ...]
        if shared is not None:
            self.bridges = (shared,)
        elif threads == 1:
            self.bridges = (Bridge(limits),)
        else:
            pending = Pending(limits)  # its bounds are those of the server
            self.bridges = tuple(
                Bridge(limits, name=f"asyncrev-worker-{number}", pending=pending)
                for number in range(threads)
            )

    def start(self) -> None:
        """Start those of our own.

        Raises:
            RuntimeError: the system gives no thread; none is running then.
        """
        if not self._owned:
            return
        started: list[Bridge] = []
        try:
            for bridge in self.bridges:
                bridge.start()
                started.append(bridge)
        except BaseException:
            for bridge in started:
                bridge.stop()  # at once, for its worker has nothing to do
            raise

    def choose(self) -> Bridge:
        """Return the bridge for the next connection: of those with the fewest lanes, the next.

        In turn, because a connection's lane is not open yet when that of the next is chosen.
        """
        bridges = self.bridges
        if len(bridges) > 1:
            self._next += 1
            turn = self._next % len(bridges)
            bridges = bridges[turn:] + bridges[:turn]
        return min(bridges, key=lambda bridge: bridge.open_lanes)

    @property
    def error(self) -> BaseException | None:
        """What the first of them died of, if one did."""
        return next((bridge.error for bridge in self.bridges if bridge.error is not None), None)

    async def wait_ended(self) -> None:
        """Wait until one of them has ended."""
        waits = [asyncio.ensure_future(bridge.wait_ended()) for bridge in self.bridges]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def close(self, timeout_s: float) -> None:
        """Close those of our own, all at once.

        Raises:
            WorkerHung: a processor did not return in `timeout_s`; the others are closed.
        """
        if not self._owned:
            return
        closing = (bridge.close(timeout_s) for bridge in self.bridges)
        for outcome in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
