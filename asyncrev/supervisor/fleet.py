"""The workers of a service: all are started, those that die are started again, one by one replaced.

A worker is its slot's `successor` until it is ready, then `current`, and in `leaving` while it
drains. Deaths are those of a `current` one that nobody has told to end.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

from asyncrev.restarts import DeathCount
from asyncrev.supervisor.causes import Cause, WorkerFailed
from asyncrev.supervisor.handle import HandleState, WorkerHandle
from asyncrev.supervisor.handout import HandOut
from asyncrev.supervisor.plan import Plan
from asyncrev.supervisor.process import Command
from asyncrev.supervisor.slot import Slot, log_end

__all__ = ["Fleet"]

logger = logging.getLogger("asyncrev")

# How long a worker that is replaced goes on as before: clients that were handed to it last have yet
# to send what they came for, and would be ended without an answer.
SETTLE_S = 0.5

NO_PROCESS = "no process"  # the label of a death of which there was nothing but the attempt


class Fleet:
    """All workers, in their slots. Thread: the loop's.

    Attributes:
        slots: the places.
        deaths: how many died, by cause.
    """

    def __init__(
        self,
        command: Command,
        plan: Plan,
        listening: Sequence[Sequence[int]],
        *,
        clock: Callable[[], float],
        deaths: DeathCount,
        give_up: Callable[[], object],
        stop_word: Callable[[], object],
        changed: Callable[[], object],
    ) -> None:
        """Prepare; `start` starts the workers.

        Args:
            command: what to start as a worker.
            plan: what to start it with.
            listening: the descriptors of each slot.
            clock: see `WorkerHandle`.
            deaths: counts them.
            give_up: is called when there were too many.
            stop_word: is called when a client asks for the end of the service.
            changed: is called when workers have come, gone or drain.
        """
        self.slots = [Slot(index, plan, fds) for index, fds in enumerate(listening)]
        self.deaths = deaths
        self._command = command
        self._clock = clock
        self._give_up = give_up
        self._stop_word = stop_word
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._has_started = False
        self._is_stopping = False
        self._hand_out: HandOut | None = None
        self._starting: dict[WorkerHandle, asyncio.Future[None]] = {}
        self._codes: set[int] = set()  # of workers that were told to end

    def deliver_to(self, hand_out: HandOut) -> None:
        """Tell `hand_out` when there are places, and give back to it what was not taken."""
        self._hand_out = hand_out

    @property
    def workers(self) -> list[WorkerHandle]:
        """All whose processes have not ended."""
        return [worker for slot in self.slots for worker in slot.workers]

    def places(self) -> list[WorkerHandle | None]:
        """Return for each slot the worker that gets connections, or None."""
        return [slot.current for slot in self.slots]

    @property
    def ready(self) -> list[bool]:
        """For each slot whether its worker serves."""
        return [slot.serves for slot in self.slots]

    # -- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start all workers at once; return when all are ready.

        Raises:
            WorkerFailed: one ended before it was ready. The others still run; call `close`.
            OSError: a process cannot be started.
        """
        for slot in self.slots:
            slot.current = self._start_worker(slot, slot.plan)
        outcomes = [self._starting[worker] for worker in self.workers]
        await asyncio.gather(*outcomes)
        self._has_started = True
        for slot in self.slots:
            if slot.current is None:  # it was ready and has died, while others were not
                self._restart_later(slot, slot.backoff.delay_s(0.0))

    async def replace(self, slot: Slot, plan: Plan) -> None:
        """Start a worker with `plan` in `slot`; when it is ready, drain the one before it.

        Return when that has ended. If the new one does not come, the one before stays.

        Raises:
            WorkerFailed: the new one ended before it was ready.
            OSError: there can be no process.
        """
        slot.cancel_restart()
        before = slot.current
        try:
            slot.successor = self._start_worker(slot, plan)
            await asyncio.shield(self._starting[slot.successor])
        except (WorkerFailed, OSError):
            if slot.current is None and not self._is_stopping:
                self._restart_later(slot, slot.backoff.delay_s(0.0))
            raise
        if before is not None:
            await before.ended.wait()

    async def drain(self) -> bool:
        """Have all drain, and wait for their ends; return whether they have answered everything."""
        self._stop()
        self._codes.clear()
        for worker in self.workers:
            worker.drain()
        await self._wait_ended()
        return self._codes <= {0}

    async def close(self) -> None:
        """End all at once; idempotent."""
        self._stop()
        for worker in self.workers:
            worker.close()
        await self._wait_ended()

    def look(self, now_s: float, hung_after_s: float) -> None:
        """End the workers that have not moved for too long."""
        for worker in self.workers:
            if worker.is_hung or worker.state is HandleState.STARTING:
                continue
            what, idle_s = "", now_s - worker.moved_s
            if worker.thread_idle_s > idle_s:
                what, idle_s = "a thread of ", worker.thread_idle_s
            if idle_s >= hung_after_s:
                logger.error("%s%s has not moved for %.0f s", what, worker.name, idle_s)
                worker.end_hung()
                self._note_change()

    def abandon_slow_start(self, longest_s: float) -> None:
        """End the successor that has been starting for longer, so that its reload ends."""
        for worker in (slot.successor for slot in self.slots):
            if worker is not None and self._loop.time() - worker.started_s >= longest_s:
                logger.warning("%s is ended, because it does not become ready", worker.name)
                worker.close()

    def reopen(self) -> None:
        """Have all open their files again."""
        for worker in self.workers:
            worker.reopen()

    def _stop(self) -> None:
        self._is_stopping = True
        for slot in self.slots:
            slot.cancel_restart()

    async def _wait_ended(self) -> None:
        for worker in self.workers:
            await worker.ended.wait()

    # -- starting ----------------------------------------------------------------------------

    def _start_worker(self, slot: Slot, plan: Plan) -> WorkerHandle:
        worker = WorkerHandle(
            self._command,
            self,
            slot=slot.index,
            plan=plan,
            workers=len(self.slots),
            listening=slot.listening,
            clock=self._clock,
        )
        outcome = self._loop.create_future()
        outcome.add_done_callback(_look_at)
        self._starting[worker] = outcome
        logger.debug("%s starts", worker.name)
        return worker

    def _restart_later(self, slot: Slot, delay_s: float) -> None:
        slot.cancel_restart()
        slot.restart = self._loop.call_later(delay_s, self._restart, slot)

    def _restart(self, slot: Slot) -> None:
        slot.restart = None
        try:
            slot.current = self._start_worker(slot, slot.plan)
        except OSError as error:
            logger.error("worker %d cannot be started: %s", slot.index, error.strerror)
            self._note_death(slot, NO_PROCESS, 0.0)

    def _note_death(self, slot: Slot, label: str, served_s: float) -> None:
        if self.deaths.note(self._loop.time(), label):
            logger.critical("workers die too often (--restart-limit); the service drains and ends")
            self._give_up()
            return
        if slot.successor is not None:  # a reload has one for this place
            return
        delay_s = slot.backoff.delay_s(served_s)
        logger.info("worker %d is started again in %g s", slot.index, delay_s)
        self._restart_later(slot, delay_s)

    # -- what workers say (`Owner`) ----------------------------------------------------------

    def note_ready(self, worker: WorkerHandle) -> None:
        """See `Owner`."""
        slot = self.slots[worker.slot]
        fields = {
            "worker": str(worker.slot),
            "worker_pid": worker.pid,
            "generation": worker.plan.generation,
        }
        if self._has_started:  # the start line says it of the first ones
            logger.info("%s serves", worker.name, extra={"fields": fields})
        if worker is slot.successor:
            before, slot.current, slot.successor = slot.current, worker, None
            slot.plan = worker.plan
            if before is not None:
                slot.leaving.append(before)
                self._loop.call_later(SETTLE_S, before.drain)
        outcome = self._starting.pop(worker)
        if not outcome.done():
            outcome.set_result(None)
        self._note_change()

    def note_place(self) -> None:
        """See `Owner`."""
        if self._hand_out is not None:
            self._hand_out.update()

    def note_leaving(self, worker: WorkerHandle) -> None:
        """See `Owner`."""
        slot = self.slots[worker.slot]
        logger.info("%s drains, and not because it was told here", worker.name)
        worker.bound_leaving()
        if worker is slot.current:
            slot.leaving.append(worker)
            slot.current = None
            if slot.successor is None and not self._is_stopping:
                self._restart_later(slot, 0.0)
        self._note_change()

    def note_stop_word(self) -> None:
        """See `Owner`."""
        self._stop_word()

    def note_end(self, worker: WorkerHandle, cause: Cause) -> None:
        """See `Owner`."""
        slot = self.slots[worker.slot]
        outcome = self._starting.pop(worker, None)
        is_awaited = worker is slot.successor or not self._has_started
        died = worker is slot.current and not self._is_stopping
        slot.remove(worker)
        if outcome is None:
            self._codes.add(0 if cause.is_clean else cause.code)
        if outcome is not None and is_awaited and not outcome.done():
            text = worker.failure or f"{worker.name} {cause.text} before it was ready"
            outcome.set_exception(WorkerFailed(text, cause.code))
        elif outcome is not None and self._is_stopping:
            logger.debug("%s has ended before it was ready", worker.name)
        else:
            if self._has_started or not cause.is_clean:  # else another one's error says it all
                log_end(worker, cause, died=died)
            if died and self._has_started:
                served_s = self._loop.time() - worker.ready_s if worker.ready_s else 0.0
                self._note_death(slot, cause.label, served_s)
        self.note_mute(worker)
        self._note_change()

    def note_mute(self, worker: WorkerHandle) -> None:
        """See `Owner`; others serve what it did not take."""
        self.note_untaken(worker.take_untaken())

    def note_untaken(self, connections: Sequence[tuple[socket.socket, Any]]) -> None:
        """See `Owner`."""
        if self._hand_out is not None:
            self._hand_out.take_back(connections)

    def _note_change(self) -> None:
        self._changed()
        self.note_place()


def _look_at(outcome: "asyncio.Future[None]") -> None:  # nobody may await it
    if not outcome.cancelled():
        outcome.exception()
