"""One executor of an engine: its calls, and what can be said of them when it is lost.

Thread: loop.
"""

import enum
from concurrent.futures import Executor
from typing import Any

from asyncrev.executors.batching import Batch
from asyncrev.restarts import Backoff

__all__ = ["ExecutorUnit", "UnitState"]

DEPTH = 2  # batches per worker at once: one that runs, and a full one that waits


class UnitState(enum.Enum):
    """Whether an executor takes calls."""

    CLOSED = "closed"  # not started, or lost and to be started again
    OPEN = "open"
    ENDED = "ended"


class ExecutorUnit:
    """An executor and its calls, oldest first. Thread: loop.

    Attributes:
        executor: None while it is not open.
        state: see `UnitState`.
        workers: how many calls it runs at once.
        batches: submitted, without a result yet.
        backoff: how long to wait before it is started again.
        opened_s: when it was started, in the loop's time.
        arenas: for its large frames, or None; the engine's.
    """

    def __init__(self, *, in_order: bool = True) -> None:
        """Prepare. `in_order`: whether a lone worker runs the calls in their order."""
        self._in_order = in_order
        self.executor: Executor | None = None
        self.state = UnitState.CLOSED
        self.workers = 1
        self.batches: list[Batch] = []
        self.backoff = Backoff()
        self.opened_s = 0.0
        self.arenas: Any = None

    @property
    def is_idle(self) -> bool:
        """Whether a worker has nothing to do."""
        return self.state is UnitState.OPEN and len(self.batches) < self.workers

    @property
    def has_place(self) -> bool:
        """Whether one more batch may be submitted."""
        return self.state is UnitState.OPEN and len(self.batches) < DEPTH * self.workers

    @property
    def load(self) -> float:
        """Batches per worker."""
        return len(self.batches) / self.workers

    @property
    def knows_culprit(self) -> bool:
        """Whether it is known, when it is lost, which call ran."""
        return self._in_order and self.workers == 1

    @property
    def is_trying_again(self) -> bool:
        """Whether it has a frame that is tried again."""
        return any(frame.tries for batch in self.batches for frame in batch.frames)

    def open(self, executor: Executor, workers: int, now_s: float) -> None:
        """Take a started executor."""
        self.executor = executor
        self.workers = max(1, workers)
        self.opened_s = now_s
        self.state = UnitState.OPEN

    def add(self, batch: Batch, now_s: float) -> None:
        """Take note of a submitted batch."""
        if len(self.batches) < self.workers:
            batch.began_s = now_s
        self.batches.append(batch)

    def remove(self, batch: Batch, now_s: float) -> None:
        """Take note that a batch is over; one that waited behind it begins."""
        self.batches.remove(batch)
        for waiting in self.batches[: self.workers]:
            if waiting.began_s is None:
                waiting.began_s = now_s

    def lose(self) -> tuple[list[Batch], list[Batch]]:
        """Close, and return the batches that may have begun, and those that have not.

        With one worker only the first can have begun; with several, nobody knows.
        """
        knows = self.knows_culprit
        batches, self.batches = self.batches, []
        self.executor = None
        self.state = UnitState.CLOSED
        return (batches[:1], batches[1:]) if knows else (batches, [])

    def hangs(self, now_s: float, timeout_s: float) -> bool:
        """Return whether a batch has been with a worker for too long."""
        return any(
            batch.began_s is not None and now_s - batch.began_s >= timeout_s
            for batch in self.batches[: self.workers]
        )
