"""What can be read off an engine for executors."""

import collections

__all__ = ["Counts"]


class Counts:
    """The counters of an engine. Thread: loop."""

    __slots__ = ("batches", "frames", "lost", "restarts", "retries")

    def __init__(self) -> None:
        self.batches = self.frames = self.retries = self.restarts = 0
        self.lost: collections.Counter[str] = collections.Counter()
