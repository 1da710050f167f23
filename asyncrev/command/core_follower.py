"""Whether the threads share one core follows how long the chunks over TLS are.

Small messages have the highest throughput with loop and worker on one core. Long ones over TLS
keep OpenSSL busy without the GIL for most of the time, which another core can be used for
(docs/decisions/0015-tls-on-the-worker.md has the figures).
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Protocol

from asyncrev.command.affinity import idle_of_cpus, move_threads
from asyncrev.statistics import ServerStatistics

__all__ = ["CoreFollower", "following"]

# Mean length of the chunks of a second. Between the two nothing changes. Messages of 16 KiB are
# faster on one core; those of 64 KiB arrive in chunks of 48 to 58 KiB.
LONG_FROM_BYTES = 40 * 1024
SHORT_TO_BYTES = 24 * 1024
# A second with less says nothing: one core is enough for it, and is not worth a change back.
LEAST_LONG_BYTES = 32 * 1024 * 1024
LEAST_SHORT_ENTRIES = 500
# How much of the second another core must have been idle, to be worth having.
LEAST_IDLE_S = 0.25
# How many seconds that say something must say the same in succession.
_LEAST_LOOKS = 2

_LOOK_S = 1.0

logger = logging.getLogger(__name__)


class CoreFollower:
    """Decides. Thread: one, any."""

    def __init__(self, cpu: int, all_cpus: frozenset[int]) -> None:
        """Begin on `cpu` alone; `all_cpus` are those that may be used."""
        self._shared, self._all = frozenset({cpu}), all_cpus
        self.cpus = self._shared
        self._looks = 0  # in succession that were for a change
        self._entries = self._received_bytes = 0  # at the last look, like the next
        self._idle_s: dict[int, float] = {}

    def look(self, entries: int, received_bytes: int, idle_s: Mapping[int, float]) -> bool:
        """Return whether `cpus` has changed. Call it once per second, with totals so far.

        `idle_s`: of each core.
        """
        new_entries = entries - self._entries
        new_bytes = received_bytes - self._received_bytes
        self._entries, self._received_bytes = entries, received_bytes
        most_idle_s = self._most_idle_s(idle_s)
        if self.cpus is self._shared:
            cpus = self._all
            is_loaded = new_bytes >= LEAST_LONG_BYTES
            is_wanted = new_bytes >= LONG_FROM_BYTES * new_entries and most_idle_s >= LEAST_IDLE_S
        else:
            cpus = self._shared
            is_loaded = new_entries >= LEAST_SHORT_ENTRIES
            is_wanted = new_bytes <= SHORT_TO_BYTES * new_entries
        if not is_loaded:
            return False
        if not is_wanted:
            self._looks = 0
            return False
        self._looks += 1
        if self._looks < _LEAST_LOOKS:
            return False
        self._looks = 0
        self.cpus = cpus
        return True

    def _most_idle_s(self, idle_s: Mapping[int, float]) -> float:
        """Return how long the core that others use least was idle since the last look."""
        before_s, self._idle_s = self._idle_s, dict(idle_s)
        others = [cpu for cpu in self._all - self._shared if cpu in idle_s and cpu in before_s]
        return max((idle_s[cpu] - before_s[cpu] for cpu in others), default=0.0)


class _HasStatistics(Protocol):
    def statistics(self) -> ServerStatistics: ...


@contextlib.contextmanager
def following(server: _HasStatistics, cpu: int | None, more_cpus: frozenset[int]) -> Iterator[None]:
    """Move all threads between `cpu` and `more_cpus` until the block ends. Thread: loop.

    Nothing is done without `cpu`, or if there are no more cores than it.
    """
    if cpu is None or len(more_cpus) < 2:
        yield
        return
    task = asyncio.create_task(_follow(server, CoreFollower(cpu, more_cpus)))
    try:
        yield
    finally:
        task.cancel()


async def _follow(server: _HasStatistics, follower: CoreFollower) -> None:
    """Move all threads as `follower` decides, until cancelled, or the system refuses."""
    others: frozenset[int] = frozenset()
    while True:
        await asyncio.sleep(_LOOK_S)
        statistics = server.statistics()
        before = follower.cpus
        entries, received_bytes = statistics.bridge.published, statistics.received_bytes
        if not follower.look(entries, received_bytes, idle_of_cpus()):
            continue
        try:
            others = move_threads(before, follower.cpus, others)
        except OSError as error:
            logger.warning("--cpu auto: the threads stay where they are: %s", error.strerror)
            return
        logger.debug("the threads run on cores %s", sorted(follower.cpus))
