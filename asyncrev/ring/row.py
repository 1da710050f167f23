"""What is counted of one owner of entries, such as a connection: the ring's half of a lane."""

from collections.abc import Callable
from typing import Any

__all__ = ["FIRST_READ_BYTES", "SMALL_READS", "Row", "no_socket"]

FIRST_READ_BYTES = 16 * 1024  # the most of a framed lane's first read
SMALL_READS = 2  # so many short reads running let a lane receive into small slots


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
        partial_frame_bytes, read_bytes, reserved_bytes: of a framed lane; see `Lane`.
        look_at_s: when the sweep must look next, if nothing is published before.
        received_bytes, replied_bytes: what the plane has received and sent for it.
        recv_into, send: of its socket, while the plane has it (`Plane.open`).
        reads: whether the plane may receive now. Writer: the transport.
        sends: whether the plane may send now, because nothing waits to be sent before. Writer: the
            transport.
    """

    __slots__ = (
        "abandoned",
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
