"""What is kept of one owner of entries, such as a connection: the ring's half of a lane.

These classes are the reference; `rows` has those that are used.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from asyncrev.limits import LEAST_READ_BYTES

__all__ = [
    "FIRST_READ_BYTES",
    "SHARE_CALLS",
    "SMALL_READS",
    "Kernel",
    "Row",
    "Work",
    "adapted_read_bytes",
    "no_socket",
]

FIRST_READ_BYTES = 16 * 1024  # the most of a framed lane's first read
SMALL_READS = 2  # so many short reads running let a lane receive into small slots

# Calls of its processor that a framed lane gets in one batch of the worker: about a millisecond of
# a light function, or of frames of 0 and 1 bytes in turn.
SHARE_CALLS = 1024


def adapted_read_bytes(read_bytes: int, entry_bytes: int, calls: int, slot_bytes: int) -> int:
    """Return the most of a framed lane's next read, after an entry that took so many calls.

    The worker defers what costs more than SHARE_CALLS; a read that needs no deferring is best.
    """
    if calls > SHARE_CALLS // 2:
        fitting_bytes = entry_bytes * SHARE_CALLS // calls
        return max(LEAST_READ_BYTES, min(read_bytes, fitting_bytes))
    if entry_bytes == read_bytes:
        return min(2 * read_bytes, slot_bytes)
    return read_bytes


class Kernel(IntEnum):
    """What the native plane does with a chunk by itself, without Python."""

    NONE = 0
    REVERSE = 1  # the bytes in reverse order
    LINES = 2  # of a chunk of whole lines, each payload in reverse order
    LEN32 = 3  # the same for whole frames with a prefix of 4 bytes
    LEN64 = 4  # and of 8


class Work:
    """What the worker does for a row: the fields that the plane reads. Thread: worker.

    `LaneWork` is derived from it.

    Attributes:
        plain: the processor while it may take a chunk without a look at anything else, else None.
            If it has an attribute `may_decline`, its `process` may return NotImplemented, before
            it has done anything: then `do` is asked.
        views_allowed: whether a reply may be a view of the slot. Written once.
        abandoned: whether nobody wants replies any more. Writer: loop; seen late, it costs some
            work in vain.
        kernel_frames: how many frames the native plane has answered by a kernel. Writer: worker;
            readers: any.
    """

    __slots__ = ("abandoned", "plain", "views_allowed")

    kernel_frames = 0

    def __init__(self) -> None:
        self.plain: Any = None
        self.views_allowed = False
        self.abandoned = False

    def use_function(self, function: Callable[[bytes], Any]) -> None:
        """Let the native plane call `function` with bytes instead, until `plain` is set again.

        It does what the processor does. The plane in Python calls the processor all the same.
        """

    def use_kernel(self, kernel: Kernel, most_bytes: int) -> None:
        """Let the native plane answer plain chunks by `kernel`, until `plain` is set again.

        The plane in Python calls the processor all the same.

        Args:
            kernel: does what the processor does, for chunks of whole frames if it is for frames.
            most_bytes: the longest payload of a frame; what has a longer one needs Python.
        """


class Row:
    """The counts and flags of one lane that the plane reads and writes. Thread: loop.

    It is the owner object in the ring's entries, so a descriptor that is used again is never taken
    for the one before. `Lane` is derived from it.

    Attributes:
        in_flight_entries: entries in the ring that have not been returned.
        in_flight_bytes: input whose reply has not been delivered; deferred input, too.
        abandoned: whether nobody wants replies any more. Written by `Lane.abandon`.
        small_reads: the last reads running that a small slot would have held.
        waits_for_credit: whether it may not publish until its sink gets `on_credit` (I8).
        waits_for_slot: whether it is in the queue of those that wait for a slot (I9).
        is_framed: whether its input is framed. Written once.
        partial_frame_bytes, frame_seq, read_bytes, reserved_bytes: of a framed lane; see `Lane`.
        look_at_s: when the sweep must look next, if nothing is published before.
        received_bytes, replied_bytes: what the plane has received and sent for it.
        recv_into, send: of its socket, while the plane has it (`Plane.open`).
        reads: whether the plane may receive now. Writer: the transport.
        sends: whether the plane may send now, because nothing waits to be sent before. Writer: the
            transport.
    """

    __slots__ = (
        "abandoned",
        "frame_seq",
        "in_flight_bytes",
        "in_flight_entries",
        "is_framed",
        "look_at_s",
        "partial_frame_bytes",
        "read_bytes",
        "reads",
        "received_bytes",
        "recv_into",
        "replied_bytes",
        "reserved_bytes",
        "send",
        "sends",
        "small_reads",
        "waits_for_credit",
        "waits_for_slot",
        "work",
    )

    def __init__(self, work: Any, *, is_framed: bool = False) -> None:
        """Start without anything in flight. `work`: what the worker does for this owner."""
        self.work = work
        self.in_flight_entries = 0
        self.in_flight_bytes = 0
        self.abandoned = False
        self.small_reads = SMALL_READS
        self.waits_for_credit = False
        self.waits_for_slot = False
        self.is_framed = is_framed
        self.partial_frame_bytes = 0
        self.frame_seq = 0
        self.read_bytes = FIRST_READ_BYTES
        self.reserved_bytes = 0
        self.look_at_s = 0.0
        self.received_bytes = 0
        self.replied_bytes = 0
        self.recv_into: Callable[[memoryview], int] = no_socket
        self.send: Callable[[Any], int] = no_socket
        self.reads = False
        self.sends = False


def no_socket(_: object) -> int:
    """Raise: the row is not served."""
    raise AssertionError("the plane has no socket of this row")
