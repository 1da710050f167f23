"""Input that the worker has copied out of its slot and will process later.

If the input of a lane needs many calls, or its replies are longer than its peer accepts, the worker
does not process it to the end. It copies the rest here, returns the slot, and continues when the
loop publishes a RESUME entry (`Kind.RESUME`). Deferred input counts as in flight (I8), so a lane
defers at most what it may have in flight.
"""

import collections
from typing import Any

__all__ = ["DeferredInput"]


class DeferredInput:
    """One lane's deferred input, oldest first. Thread: worker.

    Attributes:
        nbytes: its length.
        ends: whether the end of input follows it.
    """

    __slots__ = ("_head", "_piece_bytes", "_pieces", "ends", "nbytes")

    def __init__(self, piece_bytes: int) -> None:
        """Start empty. Small chunks are joined up to `piece_bytes`, to save an object for each.

        The end of a chunk has no meaning, because the network may split anywhere.
        """
        self._piece_bytes = piece_bytes
        self._head: memoryview | None = None
        self._pieces: collections.deque[bytearray] = collections.deque()
        self.nbytes = 0
        self.ends = False

    def add(self, chunk: memoryview) -> None:
        """Append a copy of `chunk` (contiguous, format "B")."""
        pieces = self._pieces
        if pieces and len(pieces[-1]) + chunk.nbytes <= self._piece_bytes:
            pieces[-1] += chunk
        else:
            pieces.append(bytearray(chunk))
        self.nbytes += chunk.nbytes

    def head(self) -> memoryview:
        """Return the oldest piece, or what `consume` has left of it.

        Writable, contiguous, format "B", never empty. It stays valid and unchanged after it was
        consumed, because its memory is not reused.
        """
        if self._head is None:
            self._head = memoryview(self._pieces.popleft())
        return self._head

    def consume(self, nbytes: int) -> None:
        """Drop the first `nbytes` bytes of `head`, which have been processed.

        The rest uses up to twice its length, or a piece, of memory; only its length is counted.
        """
        head = self.head()
        left_bytes = head.nbytes - nbytes
        piece: Any = head.obj
        if not left_bytes:
            self._head = None
        elif len(piece) > max(2 * left_bytes, self._piece_bytes):
            self._head = memoryview(bytearray(head[nbytes:]))
        else:
            self._head = head[nbytes:]
        self.nbytes -= nbytes
