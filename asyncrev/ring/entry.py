"""What an entry is: its kind, its result, and the object that it is for those who need more."""

import enum
from typing import Any, TypeAlias

__all__ = ["CLOSE", "DATA", "EOF", "RESUME", "Entry", "Kind", "Result"]


class Kind(enum.Enum):
    """What an entry carries. Control uses the same way as data, which keeps their order."""

    DATA = "data"
    EOF = "eof"  # no more input of this owner; its processor may add a last reply
    RESUME = "resume"  # process more of the owner's deferred input
    CLOSE = "close"  # the owner has gone; the worker drops what it keeps for it


# Reading a member from its class takes 70 ns on CPython 3.11 (the metaclass's __getattr__).
DATA, EOF, RESUME, CLOSE = Kind.DATA, Kind.EOF, Kind.RESUME, Kind.CLOSE

# Written by the worker; see `Entry.result`.
Result: TypeAlias = bytes | memoryview | tuple[bytes | memoryview, ...] | None


class Entry:
    """One entry as an object, for what needs more of it than the columns have.

    The worker gets it for lanes with frames or TLS and for control, and leaves there what the loop
    has to know. Valid from `Ring.entry` until the entry is released.

    Attributes:
        view: the worker's view of the slot that contains the chunk: writable, contiguous, format
            "B".
        owner: the owner of the bytes: an object, never a descriptor, which may be reused.
        kind: data or control.
        nbytes: the number of bytes in `view`. For lanes, the worker replaces it by the number of
            input bytes that it has processed: less if it deferred some, and for RESUME the deferred
            input that it has processed.
        result: the reply, or None: bytes, a view of this slot, or several such pieces, which do not
            change until the entry is released. Written by the worker.
        error: the reason why there is no (further) reply. Written by the worker.
        partial_frame_bytes: the length of the owner's partial frame after this entry. Written by
            the worker.
        frame_seq: the number of this partial frame among those of the owner. Written by the worker.
        calls: how many calls of a processor this entry needed. Written by the worker, with framing.
        surplus_bytes: how much longer the reply is than its input. Written by the worker if it is
            longer; the loop resets it to 0.
        ended: for EOF and RESUME, whether the processor's `eof` has been called. Written by the
            worker.
    """

    __slots__ = (
        "calls",
        "ended",
        "error",
        "frame_seq",
        "kind",
        "nbytes",
        "owner",
        "partial_frame_bytes",
        "result",
        "surplus_bytes",
        "view",
    )

    def __init__(self, view: memoryview) -> None:
        """Make an entry of a chunk in `view`."""
        self.view = view
        self.owner: Any = None
        self.kind = DATA
        self.nbytes = 0
        self.result: Result = None
        self.error: BaseException | None = None
        self.partial_frame_bytes = 0
        self.frame_seq = 0
        self.calls = 0
        self.surplus_bytes = 0
        self.ended = False
