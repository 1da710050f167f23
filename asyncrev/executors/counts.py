"""What can be read off an engine for executors."""

import collections
import dataclasses
from collections.abc import Mapping

__all__ = ["Counts", "EngineStatistics"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatistics:
    """An engine for executors, at one moment.

    Attributes:
        workers: that may take frames now.
        ready: frames that wait for a worker.
        running: frames that are with a worker, or wait there behind a batch.
        batches, frames: sent to workers so far.
        retries: frames that were sent again after their worker was lost.
        restarts: executors that were started again.
        lost: frames that were lost for good, by cause: died, hung, cancelled, "no worker".
    """

    workers: int
    ready: int
    running: int
    batches: int
    frames: int
    retries: int
    restarts: int
    lost: Mapping[str, int]


class Counts:
    """The counters of an engine. Thread: loop."""

    __slots__ = ("batches", "frames", "lost", "restarts", "retries")

    def __init__(self) -> None:
        self.batches = self.frames = self.retries = self.restarts = 0
        self.lost: collections.Counter[str] = collections.Counter()
