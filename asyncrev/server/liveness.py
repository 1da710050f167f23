"""Whether a process moves: its loop, and each of its workers that has something to do.

Pure: time and answers are arguments. Whoever looks elsewhere, such as a watchdog, may use it, too.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["STUCK_AFTER_S", "Liveness"]

STUCK_AFTER_S = 10.0


class Liveness:
    """What is known of one process's movement. Thread: one.

    The loop moves if it answers. A worker moves if it has nothing to do, or has done something
    since it was last looked at: an entry of its ring, or a step within one (`Pool.steps`).
    """

    def __init__(self, now_s: float, stuck_after_s: float = STUCK_AFTER_S) -> None:
        """Begin at `now_s`, as if everything had just moved."""
        self._stuck_after_s = stuck_after_s
        self._loop_moved_s = now_s
        # Entries processed and steps, when it last moved.
        self._threads: list[tuple[tuple[int, int], float]] = []

    def note(self, now_s: float, health: Mapping[str, Any]) -> None:
        """Take note of an answer to `health`."""
        self._loop_moved_s = now_s
        threads = health["threads"]
        if len(threads) != len(self._threads):
            self._threads = [((-1, 0), now_s)] * len(threads)
        for number, thread in enumerate(threads):
            done = thread["processed"], thread["steps"]
            before, moved_s = self._threads[number]
            if done != before or thread["published"] == thread["processed"]:
                moved_s = now_s
            self._threads[number] = (done, moved_s)

    def thread_idle_s(self, now_s: float) -> float:
        """Return how long a worker that has something to do has not moved; the longest of them."""
        return max((now_s - moved_s for _, moved_s in self._threads), default=0.0)

    def stuck(self, now_s: float) -> list[str]:
        """Return what has not moved for too long, in words; nothing if all is well.

        Of workers nothing is known while the loop does not answer.
        """
        idle_s = now_s - self._loop_moved_s
        if idle_s >= self._stuck_after_s:
            return [f"the event loop has not moved for {idle_s:.0f} s"]
        return [
            f"worker thread {number} has not moved for {now_s - moved_s:.0f} s"
            for number, (_, moved_s) in enumerate(self._threads)
            if now_s - moved_s >= self._stuck_after_s
        ]
