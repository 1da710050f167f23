"""Large frames by shared memory, as a worker process sees it.

Theory of operation. The sender writes payloads into an *arena*, an anonymous file in memory
(memfd_create(2)), and sends its descriptor's number and the place of each payload; the worker maps
the file by way of /proc and writes replies behind the payloads. So large frames are neither pickled
nor written to a pipe. An arena has no name, so that none can be left in /dev/shm, whoever is killed
and when; multiprocessing's segments have names, and a process of their own that removes them.
"""

import mmap
import os
from typing import NamedTuple

__all__ = ["ArenaMemory", "ArenaUse", "Span"]

MOST_MAPPED = 8  # arenas that one worker keeps mapped; a sender uses two of a worker at a time


class Span(NamedTuple):
    """A place in an arena, half-open."""

    start_off: int
    end_off: int


class ArenaMemory:
    """A mapped arena, while one batch is processed. Thread: the executor's worker."""

    def __init__(self, mapped: mmap.mmap, free_off: int) -> None:
        self._mapped = mapped
        self._free_off = free_off

    def get(self, span: Span) -> bytes:
        """Return the bytes of `span`, as a copy."""
        return self._mapped[span.start_off : span.end_off]

    def put(self, reply: bytes | None) -> bytes | Span | None:
        """Write a reply behind what is there; return it as it is if there is no room for it."""
        if reply is None or len(reply) < LEAST_SPAN_BYTES:
            return reply
        span = Span(self._free_off, self._free_off + len(reply))
        if span.end_off > len(self._mapped):
            return reply
        self._mapped[span.start_off : span.end_off] = reply
        self._free_off = span.end_off
        return span


LEAST_SPAN_BYTES = 16 * 1024  # what is shorter is pickled


class ArenaUse(NamedTuple):
    """How a worker finds the arena of a batch. Travels by pickle.

    Attributes:
        pid, fd: whose descriptor it is, and its number there.
        inode: of the file, which tells it from others that had the number before.
        used_bytes: up to where payloads are; replies go behind.
    """

    pid: int
    fd: int
    inode: int
    used_bytes: int

    def memory(self) -> ArenaMemory:
        """Return the mapped arena.

        Raises:
            OSError: its descriptor cannot be opened.
        """
        mapped = _mapped.get(self.inode)
        if mapped is None:
            mapped = _mapped[self.inode] = self._map()
            while len(_mapped) > MOST_MAPPED:  # the first that came
                _mapped.pop(next(iter(_mapped))).close()
        return ArenaMemory(mapped, self.used_bytes)

    def _map(self) -> mmap.mmap:
        fd = os.open(f"/proc/{self.pid}/fd/{self.fd}", os.O_RDWR | os.O_CLOEXEC)
        try:
            stat = os.fstat(fd)
            if stat.st_ino != self.inode:
                raise OSError(f"descriptor {self.fd} of process {self.pid} is another file now")
            return mmap.mmap(fd, stat.st_size)
        finally:
            os.close(fd)


_mapped: dict[int, mmap.mmap] = {}  # by inode; one thread of the worker uses it
