"""Scratch: memory of one worker that is used during one entry and holds nothing after it."""

from asyncrev.ring.ring import Entry

__all__ = ["SCRATCH_BYTES", "Scratch"]

SCRATCH_BYTES = 16 * 1024  # the longest plaintext of a TLS record (RFC 8446, 5.1)


class Scratch:
    """Where a layer leaves what the next one works on. Thread: worker; one for each.

    Attributes:
        storage: the memory itself.
        view: all of it, writable, contiguous, format "B". What is in it is valid during one entry.
        entry: an entry whose slot is `view`. It is never in a ring.
    """

    __slots__ = ("entry", "storage", "view")

    def __init__(self) -> None:
        self.storage = bytearray(SCRATCH_BYTES)
        self.view = memoryview(self.storage)
        self.entry = Entry(self.view)
