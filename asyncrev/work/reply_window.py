"""A flow-control window for the bytes of replies that a lane makes beyond its input.

Replies that are no longer than their input are bounded by what is received. The length beyond that,
the surplus, is bounded here: the worker stops when the window is full, and the loop opens it as
replies are delivered, unless the peer does not take them. HTTP/2 protects receivers in the same way
(RFC 9113, 5.2).

  I21 a lane's surplus that is in the ring or unsent is at most the window and one reply
"""

__all__ = ["UNBOUNDED_BYTES", "ReplyWindow"]

UNBOUNDED_BYTES = 1 << 62


class ReplyWindow:
    """One lane's window. Its counts only grow, and each has one writer.

    Attributes:
        produced_bytes: all surplus so far.
        limit_bytes: the surplus at which the worker stops.
        delivered_bytes: all surplus that was passed to the sink.
        is_stalled: whether the peer does not take its replies, so that the limit does not grow.
    """

    __slots__ = ("_window_bytes", "delivered_bytes", "is_stalled", "limit_bytes", "produced_bytes")

    def __init__(self, window_bytes: int = UNBOUNDED_BYTES) -> None:
        self._window_bytes = window_bytes
        self.produced_bytes = 0  # writer: worker; reader: any
        self.limit_bytes = window_bytes  # writer: loop; reader: worker
        self.delivered_bytes = 0  # writer and reader: loop
        self.is_stalled = False  # writer and reader: loop

    def is_full(self) -> bool:
        """Return whether the worker must stop. Thread: worker. If seen late, it stops once more."""
        return self.produced_bytes >= self.limit_bytes

    def allowed_bytes(self) -> int:
        """Return how many bytes of surplus are left until it is full. Thread: worker."""
        return max(0, self.limit_bytes - self.produced_bytes)

    def produce(self, surplus_bytes: int) -> None:
        """Count the surplus of a reply. Thread: worker."""
        self.produced_bytes += surplus_bytes

    def deliver(self, surplus_bytes: int) -> None:
        """Count surplus as passed to the sink, and open the window by it. Thread: loop."""
        self.delivered_bytes += surplus_bytes
        if not self.is_stalled:
            self.limit_bytes = self.delivered_bytes + self._window_bytes

    def stall(self) -> None:
        """Stop opening it: the peer does not take its replies. Thread: loop."""
        self.is_stalled = True

    def go_on(self) -> None:
        """Open it again: the peer has taken enough. Thread: loop."""
        self.is_stalled = False
        self.limit_bytes = self.delivered_bytes + self._window_bytes
