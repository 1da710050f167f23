"""A lane: one connection's ordered way through the ring, as the loop sees it.

The lane is the owner object in the ring's entries. A descriptor would not do: the kernel gives
it to the next client while entries of the old one are still on their way.
"""

from typing import Any

from asyncrev.bridge.lane_pending import LanePending
from asyncrev.bridge.sink import Sink
from asyncrev.ring.rows import Row
from asyncrev.work.lane_work import LaneWork

__all__ = ["Lane"]


class Lane(Row):
    """The loop's record of one lane. Every field: writer and reader are the loop, but for `work`.

    What is counted for each chunk, and the flags that are looked at then, are fields of `Row`.

    Attributes:
        work: the worker's part. Written here, never again; of its fields the loop writes
            `abandoned` (by `abandon`), and `window` as its methods say.
        sink: who gets the replies, until the lane is closed.
        is_framed: whether its input is framed. Written here, never again.
        stream: the transport that is served directly, if one is (`bridge.direct`).
        overflow: input received when the ring had no slot; goes in before anything else. A
            bytearray if there is any.
        eof_waits, resume_waits, close_waits: control entries that wait behind the overflow.
        pending: its requests, if its replies come later than the entries of their input.
        ending: whether the end of input came back before it was processed.
        partial_frame_bytes: of a framed lane, like all that follow: the length of its partial
            frame, as of the last entry that came back.
        frame_seq: which unfinished frame that is; see `Framer`.
        excess_bytes: unsent replies above the high water.
        reserved_bytes: what it has reserved of the pool; see `Budget`.
        read_bytes: the most of one read; a small slot is less.
        waits_for_budget: whether it is in the queue of those that wait for budget.
    """

    __slots__ = (
        "close_waits",
        "ending",
        "eof_waits",
        "excess_bytes",
        "overflow",
        "pending",
        "resume_waits",
        "sink",
        "stream",
        "waits_for_budget",
    )

    def __init__(self, sink: Sink, work: LaneWork, *, is_framed: bool) -> None:
        super().__init__(work, is_framed=is_framed)
        self.work: LaneWork
        self.sink: Sink | None = sink
        self.stream: Any = None
        self.pending: LanePending | None = None
        self.overflow: bytearray | bytes = b""
        self.eof_waits = False
        self.resume_waits = False
        self.close_waits = False
        self.ending = False
        self.excess_bytes = 0
        self.waits_for_budget = False

    def abandon(self) -> None:
        """Note that nobody wants replies any more; the worker sees it late, and works in vain."""
        self.abandoned = True
        self.work.abandoned = True

    @property
    def held_bytes(self) -> int:
        """How much input of a framed lane is here: as a partial frame, in flight, or overflowed."""
        return self.partial_frame_bytes + self.in_flight_bytes + len(self.overflow)

    @property
    def is_within_frame(self) -> bool:
        """Whether its peer has begun a frame and not ended it.

        Not while replies are to come later: what is held may be their requests.
        """
        if not self.partial_frame_bytes:
            return False
        return self.pending is None or not self.pending.is_owed

    @property
    def is_owed(self) -> bool:
        """Whether replies to what was published are still to come."""
        if self.in_flight_entries or self.overflow:
            return True
        if self.abandoned:
            return False
        return (
            self.in_flight_bytes > 0
            or self.ending
            or (self.pending is not None and self.pending.is_owed)
        )

    @property
    def is_being_answered(self) -> bool:
        """Whether the worker has, or will have, work of this lane without its peer.

        Not if all that is left is deferred, and the peer does not take its replies.
        """
        if self.in_flight_entries or self.waits_for_slot:
            return True
        return self.is_owed and not (self.abandoned or self.work.window.is_stalled)
