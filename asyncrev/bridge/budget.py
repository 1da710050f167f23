"""The pool's budget: how much framed connections may hold, decided before they receive it.

Theory of operation. What a framed lane has received is in a slot, in a block of the pool, in its
overflow, or in a reply that the peer has not taken. The worker cannot refuse bytes that are here,
so the loop asks before it receives them: a lane that may read has reserved what the worker will
need for all that the lane holds and for one more small read. Reservations are in the pool's size
classes, so the pool itself never has to refuse.

  I14  the reservations for blocks add up to at most `pool_bytes`. What unsent replies take comes
       on top, and while it does nobody gets more: they are here, and the block of an unfinished
       frame beside them may be as large as that of all was
  I15  a lane that holds little (`partial_frame_bytes`) never waits for others
  I16  lanes that wait for budget are served in FIFO order, and meanwhile no other reservation
       grows
"""

import collections

from asyncrev.bridge.lane import Lane
from asyncrev.limits import LEAST_READ_BYTES, Limits, class_bytes

__all__ = ["Budget"]


class Budget:
    """Reservations of lanes on the pool. All methods: the loop's thread."""

    __slots__ = (
        "_lane_bytes",
        "_little_bytes",
        "_partial_frame_bytes",
        "_waiters",
        "pool_bytes",
        "refusals",
        "reserved_bytes",
        "reserved_high_bytes",
    )

    def __init__(self, limits: Limits) -> None:
        self.pool_bytes = limits.pool_bytes
        self._lane_bytes = limits.pool_connection_bytes
        self._partial_frame_bytes = limits.partial_frame_bytes
        # Nothing is reserved for this.
        self._little_bytes = limits.partial_frame_bytes - LEAST_READ_BYTES
        self._waiters: collections.deque[Lane] = collections.deque()
        self.reserved_bytes = 0
        self.reserved_high_bytes = 0
        self.refusals = 0

    @property
    def waiting_lanes(self) -> int:
        """How many lanes wait for budget."""
        return len(self._waiters)

    @property
    def little_bytes(self) -> int:
        """How much a lane may hold without a reservation (I15)."""
        return self._little_bytes

    def is_ample(self, wanted_bytes: int) -> bool:
        """Return whether each lane that holds little may receive `wanted_bytes` now.

        Then `allowed_bytes` returns for each of them what it wants, up to that.
        """
        twice_bytes = 2 * (self._little_bytes + wanted_bytes)
        return not self._waiters and (
            twice_bytes <= self._lane_bytes and twice_bytes <= self.pool_bytes - self.reserved_bytes
        )

    def allowed_bytes(self, lane: Lane, wanted_bytes: int) -> int:
        """Return how many bytes `lane` may receive now: `wanted_bytes`, or less.

        It is at least LEAST_READ_BYTES; a transport that reads although it was told not to gets
        the least, too.
        """
        held_bytes = lane.partial_frame_bytes + lane.in_flight_bytes + len(lane.overflow)
        if not (lane.reserved_bytes or self._waiters):
            # Nearly always: twice as much is more than any class that fits it.
            twice_bytes = 2 * (held_bytes + wanted_bytes)
            if twice_bytes <= self._lane_bytes and (
                twice_bytes <= self.pool_bytes - self.reserved_bytes
            ):
                return wanted_bytes
        most_bytes = min(lane.reserved_bytes + self._spare_bytes(lane), self._lane_bytes)
        most_bytes -= _write_buffer_bytes(lane.excess_bytes)
        if most_bytes > 0:
            most_bytes = 1 << (most_bytes.bit_length() - 1)  # the largest class that fits
        allowed_bytes = max(
            most_bytes - held_bytes, self._partial_frame_bytes - held_bytes, LEAST_READ_BYTES
        )
        return min(allowed_bytes, wanted_bytes)

    def reserve(self, lane: Lane) -> bool:
        """Reserve for what `lane` holds and one small read; return whether it got both.

        If it did not, it waits in turn for others, or it holds all that one lane may hold: then
        what it has on its way must come back first, and nobody else can help. Of an abandoned
        lane nobody knows what the worker holds, so its reservation stays until `forget`.
        """
        if lane.abandoned:
            return False
        if not lane.reserved_bytes and (
            lane.partial_frame_bytes + lane.in_flight_bytes + len(lane.overflow)
            <= self._little_bytes
        ):
            return True  # nearly always
        want_bytes = self._needed_bytes(lane, LEAST_READ_BYTES)
        more_bytes = want_bytes - lane.reserved_bytes
        may_read = True
        if more_bytes > 0 and (
            want_bytes > self._lane_bytes or more_bytes > self._spare_bytes(lane)
        ):
            may_read = False
            if want_bytes <= self._lane_bytes and not lane.waits_for_budget:
                lane.waits_for_budget = True
                self.refusals += 1
                self._waiters.append(lane)
            more_bytes = self._needed_bytes(lane, 0) - lane.reserved_bytes
        if more_bytes:
            self._add(lane, more_bytes)
        return may_read

    def set_excess(self, lane: Lane, excess_bytes: int) -> None:
        """Note how far the unsent replies of `lane` are above its high water, and reserve for it.

        They are here, so there is nothing to refuse. What the lane has reserved to read on stays.
        """
        more_bytes = _write_buffer_bytes(excess_bytes) - _write_buffer_bytes(lane.excess_bytes)
        lane.excess_bytes = excess_bytes
        self._add(lane, more_bytes)

    def forget(self, lane: Lane) -> None:
        """Take back all that `lane` has reserved: nothing is held of it any more."""
        self._add(lane, -lane.reserved_bytes)
        lane.excess_bytes = 0
        if lane.waits_for_budget:  # else lanes that come and go would pile up behind one that waits
            lane.waits_for_budget = False
            self._waiters.remove(lane)

    def serve_waiters(self) -> list[Lane]:
        """Serve the lanes that wait, in FIFO order; return the lanes that got it (I16)."""
        waiters, served = self._waiters, []
        while waiters:
            lane = waiters[0]
            # What another gives back is of no use to one that has gone, or that now holds too much
            # itself.
            of_use = (
                not lane.abandoned
                and self._needed_bytes(lane, LEAST_READ_BYTES) <= self._lane_bytes
            )
            if of_use and not self.reserve(lane):
                break
            waiters.popleft()
            lane.waits_for_budget = False
            if of_use:
                served.append(lane)
        return served

    def forget_waiters(self) -> None:
        """Forget the lanes that wait."""
        for lane in self._waiters:
            lane.waits_for_budget = False
        self._waiters.clear()

    def _add(self, lane: Lane, more_bytes: int) -> None:
        lane.reserved_bytes += more_bytes
        self.reserved_bytes += more_bytes
        self.reserved_high_bytes = max(self.reserved_high_bytes, self.reserved_bytes)

    def _needed_bytes(self, lane: Lane, more_bytes: int) -> int:
        """Return what `lane` must have reserved to hold what it holds, and `more_bytes`."""
        held_bytes = lane.held_bytes + more_bytes
        block_bytes = 0 if held_bytes <= self._partial_frame_bytes else class_bytes(held_bytes)
        return block_bytes + _write_buffer_bytes(lane.excess_bytes)

    def _spare_bytes(self, lane: Lane) -> int:
        """Return by how much `lane` may enlarge its reservation."""
        if self._waiters and self._waiters[0] is not lane:
            return 0  # I16
        return max(0, self.pool_bytes - self.reserved_bytes)


def _write_buffer_bytes(excess_bytes: int) -> int:
    # What a growing bytearray takes for it (limits.WRITE_BUFFER_OVERHEAD).
    return excess_bytes + (excess_bytes >> 3)
