"""Input that the worker has taken out of its slot and will process later.

A lane whose input costs many calls, or is answered with more than its peer takes, is not worked on
to the end at once: what is left is copied here, its slot goes back, and the lane takes its turn
again when the loop asks for it (`Kind.RESUME`). What is here counts as in flight (I8), so a lane
defers at most what it may have in flight.
"""

import collections
from typing import Any

__all__ = ["DeferredInput"]


class DeferredInput:
    """One lane's deferred input, oldest first. Thread: worker.

    Attributes:
        nbytes: how much it is.
        ends: whether the end of input comes behind it.
    """

    __slots__ = ("_head", "_piece_bytes", "_pieces", "ends", "nbytes")

    def __init__(self, piece_bytes: int) -> None:
        """Start empty. Small chunks are joined up to `piece_bytes`: many would cost an object each.

        Where a chunk ends means nothing: the network could have split there, or not.
        """
        self._piece_bytes = piece_bytes
        self._head: memoryview | None = None
        self._pieces: collections.deque[bytearray] = collections.deque()
        self.nbytes = 0
        self.ends = False

    def add(self, chunk: memoryview) -> None:
        """Keep a copy of `chunk` (contiguous, format "B") behind the others."""
        pieces = self._pieces
        if pieces and len(pieces[-1]) + chunk.nbytes <= self._piece_bytes:
            pieces[-1] += chunk
        else:
            pieces.append(bytearray(chunk))
        self.nbytes += chunk.nbytes

    def head(self) -> memoryview:
        """Return the oldest piece, or what `consume` has left of it.

        Writable, contiguous, format "B", never empty. It stays valid, and nobody changes it, after
        it was consumed: its memory is its own.
        """
        if self._head is None:
            self._head = memoryview(self._pieces.popleft())
        return self._head

    def consume(self, nbytes: int) -> None:
        """Drop the first `nbytes` of `head`: they have been processed.

        What is left keeps at most twice its own memory, or a piece: only what is left is counted.
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
