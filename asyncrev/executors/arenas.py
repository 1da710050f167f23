"""Large frames by shared memory, as their sender sees it; see `arena_use`. Thread: loop."""

import mmap
import os
from collections.abc import Sequence
from typing import Any

from asyncrev.executors.arena_use import LEAST_SPAN_BYTES, ArenaUse, Span

__all__ = ["Arena", "Arenas"]

LEAST_ARENA_BYTES = 256 * 1024
MOST_KEPT_BYTES = 4 * 1024 * 1024  # of one arena; one for a longer frame is closed after use


class Arena:
    """Memory that is shared with worker processes; anonymous, so it ends with those who use it."""

    def __init__(self, nbytes: int) -> None:
        self._fd = os.memfd_create("asyncrev-arena", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self._fd, nbytes)  # its pages take memory once they are used
            self._mapped = mmap.mmap(self._fd, nbytes)
            self._inode = os.fstat(self._fd).st_ino
        except BaseException:
            os.close(self._fd)
            raise
        self.nbytes = nbytes

    def write(self, payloads: Sequence[bytes]) -> tuple[list[bytes | Span], ArenaUse]:
        """Write large payloads; return what is sent in the place of all, and where it is."""
        off = 0
        sent: list[bytes | Span] = []
        for payload in payloads:
            if len(payload) < LEAST_SPAN_BYTES:
                sent.append(payload)
                continue
            span = Span(off, off + len(payload))
            self._mapped[span.start_off : span.end_off] = payload
            sent.append(span)
            off = span.end_off
        return sent, ArenaUse(os.getpid(), self._fd, self._inode, off)

    def read(self, answers: Sequence[Any]) -> list[Any]:
        """Return answers with the bytes that spans stand for."""
        return [
            self._mapped[answer.start_off : answer.end_off] if type(answer) is Span else answer
            for answer in answers
        ]

    def close(self) -> None:
        """Give its memory back, once no worker has it mapped."""
        self._mapped.close()
        os.close(self._fd)


class Arenas:
    """The arenas of one worker: each is used by one batch at a time."""

    def __init__(self) -> None:
        self._free: list[Arena] = []
        self._used: set[Arena] = set()

    def take(self, payloads: Sequence[bytes]) -> Arena | None:
        """Return one with room for large payloads and as long replies; None if there are none."""
        large = sum(len(payload) for payload in payloads if len(payload) >= LEAST_SPAN_BYTES)
        if not large:
            return None
        needed = max(LEAST_ARENA_BYTES, 1 << (2 * large - 1).bit_length())
        arena = next((arena for arena in self._free if arena.nbytes >= needed), None)
        if arena is not None:
            self._free.remove(arena)
        else:
            if self._free:  # a smaller one, in whose place this one comes
                self._free.pop().close()
            try:
                arena = Arena(needed)
            except OSError:  # no descriptor or no memory is left: the frames are pickled
                return None
        self._used.add(arena)
        return arena

    def give_back(self, arena: Arena) -> None:
        """Keep an arena for another batch."""
        self._used.discard(arena)
        if arena.nbytes > MOST_KEPT_BYTES:
            arena.close()
        else:
            self._free.append(arena)

    def close(self) -> None:
        """Close all: the worker is lost or ended."""
        for arena in (*self._free, *self._used):
            arena.close()
        self._free.clear()
        self._used.clear()
