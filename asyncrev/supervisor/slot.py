"""A slot: the place of one worker, which is filled again when the worker has ended."""

import asyncio
import dataclasses
import logging
from collections.abc import Sequence

from asyncrev.restarts import Backoff
from asyncrev.supervisor.causes import Cause
from asyncrev.supervisor.handle import HandleState, WorkerHandle
from asyncrev.supervisor.plan import Plan

__all__ = ["Slot", "log_end"]

logger = logging.getLogger("asyncrev")


@dataclasses.dataclass(slots=True)
class Slot:
    """What is in one place. Only the fleet changes it. Thread: the loop's.

    Attributes:
        index: its number, from 0.
        plan: what it is filled with again.
        listening: descriptors of the listening sockets that its workers accept from.
        current: the worker that gets connections once it is ready, or None.
        successor: the one that a reload has started and that is not ready, or None.
        leaving: workers that drain.
        backoff: the delays of restarts.
        restart: the timer of a restart, or None.
    """

    index: int
    plan: Plan
    listening: Sequence[int] = ()
    current: WorkerHandle | None = None
    successor: WorkerHandle | None = None
    leaving: list[WorkerHandle] = dataclasses.field(default_factory=list)
    backoff: Backoff = dataclasses.field(default_factory=Backoff)
    restart: asyncio.TimerHandle | None = None

    @property
    def workers(self) -> list[WorkerHandle]:
        """All whose processes have not ended, the present one first."""
        some = (self.current, self.successor, *self.leaving)
        return [worker for worker in some if worker is not None]

    @property
    def serves(self) -> bool:
        """Whether it has a worker that takes connections, if there is room."""
        return self.current is not None and self.current.state is HandleState.READY

    def remove(self, worker: WorkerHandle) -> None:
        """Forget a worker whose process has ended."""
        if worker is self.current:
            self.current = None
        elif worker is self.successor:
            self.successor = None
        else:
            self.leaving.remove(worker)

    def cancel_restart(self) -> None:
        """Start no worker for now. Idempotent."""
        if self.restart is not None:
            self.restart.cancel()
            self.restart = None


def log_end(worker: WorkerHandle, cause: Cause, *, died: bool) -> None:
    """Log the end of a worker; `died`: nobody has told it to end."""
    fields = {"worker": str(worker.slot), "worker_pid": worker.pid, "cause": cause.label}
    extra = {"fields": fields}
    if not died and cause.is_clean:
        logger.info("%s has ended", worker.name, extra=extra)
        return
    why = f": {worker.failure}" if worker.failure else ""
    logger.error("%s %s%s", worker.name, cause.text, why, extra=extra)
    for thread in worker.stacks.split("\n\n"):  # `faulthandler` has an empty line between two
        if thread.strip():
            logger.error("%s: %s", worker.name, thread.strip(), extra=extra)
