"""What others see of a supervisor: the admin endpoint whom it may ask, and systemd its state."""

import os
from collections.abc import Mapping
from typing import Any

from asyncrev.states import ServerState
from asyncrev.supervisor.handle import HandleState, WorkerHandle
from asyncrev.supervisor.remote_source import RemoteSource
from asyncrev.supervisor.supervisor import Supervisor

__all__ = ["SupervisorView", "WorkerSources"]


class WorkerSources:
    """The sources of the workers that have been ready and live. Written by the loop's thread.

    The endpoint's thread reads the two attributes; each is replaced as a whole and never changed.

    Attributes:
        present: a source per worker, in the order of slots; one that drains has another name.
        facts: see `SupervisorAdmin`.
    """

    def __init__(self, workers: int) -> None:
        """Begin without any of so many workers."""
        self.present: tuple[RemoteSource, ...] = ()
        self.facts: Mapping[str, Any] = _facts(workers, 1, {})
        self._workers = workers
        self._sources: dict[WorkerHandle, RemoteSource] = {}

    def update(self, supervisor: Supervisor) -> None:
        """Take note of workers that have come, gone or drain. Thread: the loop's."""
        living = [worker for worker in supervisor.workers if worker.ready_s]
        for worker in living:
            if worker not in self._sources:
                self._sources[worker] = RemoteSource(worker.take_questions(), "")
            is_old = worker.state is HandleState.LEAVING and not worker.is_hung
            self._sources[worker].worker = f"{worker.slot}-old" if is_old else str(worker.slot)
        for worker in self._sources.keys() - {*living}:
            self._sources.pop(worker).close()
        self.present = tuple(self._sources[worker] for worker in living)
        generation = supervisor.plan.generation
        self.facts = _facts(self._workers, generation, dict(supervisor.restarts))

    def close(self) -> None:
        """Ask nobody any more. Thread: the loop's."""
        self.present = ()
        while self._sources:
            self._sources.popitem()[1].close()


def _facts(workers: int, generation: int, restarts: Mapping[str, int]) -> Mapping[str, Any]:
    return {
        "pid": os.getpid(),
        "workers": workers,
        "generation": generation,
        "restarts": restarts,
    }


class SupervisorView:
    """A supervisor as `Notifier` looks at a server."""

    bridges = ()
    arriving = 0

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.connections = self

    def __len__(self) -> int:
        return self._supervisor.open_connections

    @property
    def state(self) -> ServerState:
        return self._supervisor.state

    @property
    def accepting(self) -> bool:
        return self._supervisor.accepting
