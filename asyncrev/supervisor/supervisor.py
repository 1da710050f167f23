"""The supervisor: its listening sockets, its workers, and how they start, change and end."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from asyncrev.bridge.running_time import RunningClock
from asyncrev.errors import AsyncrevError
from asyncrev.restarts import DeathCount
from asyncrev.states import ServerState
from asyncrev.supervisor.fleet import Fleet
from asyncrev.supervisor.handle import WorkerHandle
from asyncrev.supervisor.handout import HandOut
from asyncrev.supervisor.plan import Plan
from asyncrev.supervisor.process import Command

__all__ = ["Doors", "Supervisor"]

logger = logging.getLogger("asyncrev")

LOOK_S = 0.5


class Doors(Protocol):
    """Where a service accepts; see `SharedDoors`."""

    listening: Sequence[Sequence[int]]

    def start(self) -> None:
        """Accept from now on."""

    def set_open(self, has_place: bool, ready: Sequence[bool]) -> None:
        """Heed whether a worker has a place, and for each slot whether its worker serves."""

    async def close(self, *, accept_queued: bool) -> None:
        """Listen no more."""

    @property
    def addresses(self) -> list[Any]:
        """What it listens on."""

    @property
    def accepting(self) -> bool:
        """Whether the next connection is accepted when it comes."""


class Supervisor:
    """One service of several workers. All methods: the loop's thread.

    Attributes:
        plan: what the last reload that went well has made workers with.
        gave_up: whether workers died too often.
        state: as of a server: SERVING from `start`, until `drain` or `close`.
        bridges: none; they are the workers'.
        restarts: how many workers died, by cause.
    """

    def __init__(
        self,
        command: Command,
        plan: Plan,
        doors: Doors,
        *,
        restart_limit: int,
        hung_after_s: float,
        stop: Callable[[], object],
        changed: Callable[[], object],
    ) -> None:
        """Prepare; `start` starts the workers.

        Args:
            command: what to start as a worker.
            plan: what to start it with.
            doors: where it accepts, opened and not started.
            restart_limit: the deaths of workers within a minute at which it gives up; 0 for none.
            hung_after_s: the time after which a worker that does not move is ended; may be inf.
            stop: is called when the service is to drain: for a stop word, or as it gives up.
            changed: is called when workers have come, gone or drain.
        """
        self.plan = plan
        self.gave_up = False
        self.state = ServerState.NEW
        self.bridges: tuple[Any, ...] = ()
        self._doors = doors
        self._hung_after_s = hung_after_s
        self._stop = stop
        self._deaths = DeathCount(restart_limit)
        self.restarts = self._deaths.by_cause
        self._clock = RunningClock(asyncio.get_running_loop().time())
        self._fleet = Fleet(
            command,
            plan,
            doors.listening,
            clock=lambda: self._clock.now_s,
            deaths=self._deaths,
            give_up=self._give_up,
            stop_word=stop,
            changed=changed,
        )
        self._hand_out = HandOut(self._fleet.places, self._set_open)
        self._fleet.deliver_to(self._hand_out)
        self.accept = self._hand_out.accept
        self._looking: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None

    # -- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start all workers, and accept once all are ready.

        Raises:
            WorkerFailed: one ended before it was ready; `close` ends the others.
            OSError: a process cannot be started.
        """
        await self._fleet.start()
        self.state = ServerState.SERVING
        self._doors.start()
        self._hand_out.update()
        self._looking = asyncio.create_task(self._look())

    async def reload(self, plan: Plan) -> bool:
        """Replace one worker after the other by one with `plan`; return whether all are replaced.

        The first that cannot start ends it, with a line in the log; those not yet replaced stay.
        """
        self._reloading = asyncio.create_task(self._replace_all(plan))
        try:
            await asyncio.wait((self._reloading,))
        except asyncio.CancelledError:
            self._reloading.cancel()
            raise
        if self._reloading.cancelled():
            return False
        error = self._reloading.exception()
        if error is None:
            return True
        if not isinstance(error, (AsyncrevError, OSError)):
            raise error
        logger.error("reload ended: %s", error)
        return False

    async def drain(self) -> bool:
        """Accept no more, have all workers drain; return whether they have answered everything."""
        if self.state is not ServerState.SERVING:
            await self.close()
            return True
        self.state = ServerState.DRAINING
        await self._end_reload()
        await self._doors.close(accept_queued=True)
        left = self._hand_out.finish()
        clean = await self._fleet.drain()
        left += self._hand_out.finish()  # what a worker had not taken when it ended
        if left:
            logger.error("%d connections were closed, because no worker served", left)
        await self.close()
        return clean and not left

    async def close(self) -> None:
        """End everything at once. Idempotent."""
        self.state = ServerState.CLOSED
        await self._end_reload()
        if self._looking is not None:
            self._looking.cancel()
        await self._doors.close(accept_queued=False)
        await self._fleet.close()
        self._hand_out.finish()

    def hurry_reload(self) -> None:
        """End a reload whose new worker has not become ready for long, as another one is asked for.

        Else a module that hangs when it is imported would keep its corrected version out for ever.
        """
        self._fleet.abandon_slow_start(self._hung_after_s)

    def reopen(self) -> None:
        """Have all workers open their files again, for log rotation."""
        self._fleet.reopen()

    async def _replace_all(self, plan: Plan) -> None:
        for slot in self._fleet.slots:
            await self._fleet.replace(slot, plan)
            self.plan = plan

    async def _end_reload(self) -> None:
        if self._reloading is not None and not self._reloading.done():
            self._reloading.cancel()
            await asyncio.wait((self._reloading,))

    async def _look(self) -> None:
        """Look every `LOOK_S` whether the workers move."""
        loop = asyncio.get_running_loop()
        # A beat counts as of the look before it, so a worker seems silent for up to one look more.
        silent_s = self._hung_after_s + LOOK_S
        while True:
            await asyncio.sleep(LOOK_S)
            self._fleet.look(self._clock.read(loop.time(), LOOK_S), silent_s)

    def _give_up(self) -> None:
        self.gave_up = True
        self._stop()

    def _set_open(self, has_place: bool) -> None:
        if self.state is ServerState.SERVING:
            self._doors.set_open(has_place, self._fleet.ready)

    # -- looking at it -----------------------------------------------------------------------

    @property
    def workers(self) -> list[WorkerHandle]:
        """All whose processes have not ended."""
        return self._fleet.workers

    @property
    def ready(self) -> list[bool]:
        """For each slot whether its worker serves."""
        return self._fleet.ready

    @property
    def addresses(self) -> list[Any]:
        """What it listens on, as `socket.getsockname` tells it."""
        return self._doors.addresses

    @property
    def accepting(self) -> bool:
        """Whether the next connection is accepted when it comes."""
        return self._doors.accepting

    @property
    def open_connections(self) -> int:
        """How many connections all workers have or are about to have."""
        return sum(worker.connections for worker in self.workers)
