"""Admission: which lane may put input into the ring, and where input goes that finds no slot.

  I9   a lane that finds no slot fills the overflow buffer instead, may not publish, and joins the
       FIFO of waiters; they are served before anybody else can use what a delivery has freed
  I10  a lane's overflow goes in before its end of input, and that before its close

A lane whose last reads were short receives into the small slot that every entry has. One that
fills it gets a slot the next time, and goes back only after SMALL_READS short reads running.

A framed lane needs budget of the buffer pool besides, see `budget`. And it is read in pieces
that take about SHARE_CALLS calls of its processor, as far as its last chunks tell, because the
worker defers what costs more: 256 KiB of empty lines would keep it, and everybody behind them, for
a quarter of a second. Deferred input stays in flight, so it counts against I8 and the budget, and
a RESUME entry gives its lane the next turn. A lane has one when nothing else of it is in the ring,
and its peer takes the replies.

asyncio closes a connection whose `get_buffer` returns an empty view, and neither pausing nor
closing is safe inside it; hence an overflow buffer that is always there, instead of a refusal.
"""

import collections

from asyncrev.bridge.budget import Budget
from asyncrev.bridge.flow_control import is_half_back
from asyncrev.bridge.lane import Lane
from asyncrev.errors import LocalError
from asyncrev.limits import Limits
from asyncrev.ring.loop_side import LoopSide
from asyncrev.ring.ring import CLOSE, DATA, EOF, RESUME, Entry, Ring
from asyncrev.ring.row import SMALL_READS, adapted_read_bytes
from asyncrev.work.lane_work import InputEnd

__all__ = ["Admission"]


class Admission:
    """Publishes the input of lanes. All methods: the loop's thread."""

    __slots__ = (
        "_claimed_by",
        "_claimed_view",
        "_most_bytes",
        "_most_entries",
        "_overflow_view",
        "_ring",
        "_side",
        "_waiters",
        "budget",
        "is_closed",
        "overflows",
    )

    def __init__(self, ring: Ring, side: LoopSide, limits: Limits) -> None:
        self._ring = ring
        self._side = side
        self._most_entries = limits.in_flight_entries
        self._most_bytes = limits.in_flight_bytes
        # One for all lanes: what is received into it is copied out at once.
        self._overflow_view = memoryview(bytearray(min(limits.overflow_bytes, ring.slot_bytes)))
        self._claimed_by: Lane | None = None
        self._claimed_view = self._overflow_view
        self._waiters: collections.deque[Lane] = collections.deque()
        self.budget = Budget(limits)
        self.is_closed = False  # to new input; what is here is still answered
        self.overflows = 0

    @property
    def waiting_lanes(self) -> int:
        """How many lanes wait for a slot or for budget."""
        return len(self._waiters) + self.budget.waiting_lanes

    @property
    def framed_reads(self) -> bool:
        """Whether each framed lane that holds little may receive a slot (`Plane.framed_reads`)."""
        return self.budget.is_ample(self._ring.slot_bytes)

    def claim(self, lane: Lane) -> memoryview:
        """Return where `lane`'s next input goes: writable, contiguous, never empty.

        Valid until `publish`, or until another lane claims. Without a publish it costs nothing.
        """
        self._claimed_by = lane
        view = None
        if not self.is_closed:
            view = self._ring.try_claim(small=lane.small_reads >= SMALL_READS)
        if view is None:
            view = self._overflow_view
        self._claimed_view = view
        if not lane.is_framed:
            return view
        most_bytes = self.budget.allowed_bytes(lane, lane.read_bytes)
        return view if most_bytes >= view.nbytes else view[:most_bytes]

    def claimed(self, nbytes: int) -> memoryview:
        """Return the first `nbytes` of what was claimed last and not published."""
        return self._claimed_view[:nbytes]

    def publish(self, lane: Lane, nbytes: int) -> bool:
        """Hand the first `nbytes` of the claimed view on; return whether `lane` may go on.

        After False the lane should read no more until `Sink.on_credit`; what it publishes all
        the same is kept, but counts against no bound. After `close` it is dropped.

        Raises:
            LocalError: `lane` was not the last to claim, or claimed fewer bytes.
        """
        if self._claimed_by is not lane:
            raise LocalError("publish by a lane that was not the last to claim")
        self._claimed_by = None
        lane.look_at_s = 0.0
        slot = self._claimed_view
        if slot is self._overflow_view or lane.waits_for_slot:
            if self.is_closed:
                return False
            self._overflow(lane, slot, nbytes)
            if lane.is_framed:
                self.budget.reserve(lane)
            return False
        ring = self._ring
        ring.publish(lane, DATA, slot, nbytes)
        if nbytes >= ring.small_slot_bytes:
            lane.small_reads = 0
        elif lane.small_reads < SMALL_READS:
            lane.small_reads += 1
        if not self._side.flush_is_due:
            self._side.flush_soon()
        entries = lane.in_flight_entries = lane.in_flight_entries + 1
        in_flight_bytes = lane.in_flight_bytes = lane.in_flight_bytes + nbytes
        may_go_on = entries < self._most_entries and in_flight_bytes < self._most_bytes  # I8
        if lane.is_framed and not self.budget.reserve(lane):
            may_go_on = False
        if not may_go_on:
            lane.waits_for_credit = True
        return may_go_on

    def may_go_on(self, lane: Lane) -> bool:
        """Reserve for framed `lane`, for which the plane has published; return whether it got it.

        After False it should read no more until `Sink.on_credit`, as after `publish`.
        """
        if not self.budget.reserve(lane):
            lane.waits_for_credit = True
        return not lane.waits_for_credit

    def publish_start(self, lane: Lane) -> None:
        """Have the worker look at `lane` before there is input: it may have to speak first."""
        lane.resume_waits = True
        self._feed_or_wait(lane)

    def publish_eof(self, lane: Lane, end: InputEnd = InputEnd.PEER) -> None:
        """Put the end of `lane`'s input, which came for the reason `end`, behind all of it."""
        if self.is_closed:
            return  # what came before it may have been dropped
        lane.work.input_end = end  # before the entry is published (I3)
        lane.eof_waits = True
        self._feed_or_wait(lane)

    def publish_close(self, lane: Lane) -> None:
        """Put the close of `lane` behind what is in the ring; what is not there yet is dropped."""
        lane.overflow = b""
        lane.eof_waits = lane.resume_waits = False
        lane.close_waits = True
        self._feed_or_wait(lane)

    def ask_credit(self, lane: Lane) -> None:
        """Have `lane`'s sink get `on_credit` though it may publish: once the next entry is back.

        What the worker has deferred then, up to half of the quota, does not put it off.
        """
        lane.waits_for_credit = True

    def entry_returned(self, lane: Lane, entry: Entry | None) -> None:
        """Note that the worker has handed `entry` of `lane` back: its slot is free.

        Its reply counts as in flight until `reply_delivered`. `entry` is None if nobody has
        attached it; those of framed lanes are attached.
        """
        lane.in_flight_entries -= 1
        if not lane.is_framed or entry is None:
            return
        if entry.kind is CLOSE:
            self.budget.forget(lane)
        elif not lane.abandoned:  # else what the worker holds stays reserved until the close
            lane.partial_frame_bytes = entry.partial_frame_bytes
            lane.frame_seq = entry.frame_seq
            lane.read_bytes = adapted_read_bytes(
                lane.read_bytes, entry.nbytes, entry.calls, self._ring.slot_bytes
            )

    def reply_delivered(self, lane: Lane, nbytes: int, excess_bytes: int | None = None) -> bool:
        """Note that `nbytes` of `lane` are answered; return whether it now gets its credit (I8).

        `excess_bytes` is what the sink said of its unsent replies; see `Sink.on_reply`.
        """
        lane.in_flight_bytes -= nbytes
        if lane.is_framed:
            if lane.abandoned:
                return False
            if excess_bytes is not None:
                self.budget.set_excess(lane, excess_bytes)
            if not lane.waits_for_credit or lane.waits_for_slot:
                self.budget.reserve(lane)
                return False
        elif not lane.waits_for_credit or lane.waits_for_slot:
            return False
        return self._may_read(lane)

    def credit(self, lane: Lane) -> bool:
        """Give `lane`, half of whose quota is back, its credit if it may have it; return whether.

        A lane that waits for a slot gets it with that.
        """
        return not lane.waits_for_slot and self._may_read(lane)

    def resume(self, lane: Lane) -> None:
        """Let the worker go on with what it deferred of `lane`, if it may; idempotent."""
        window = lane.work.window
        if lane.abandoned or lane.in_flight_entries or lane.resume_waits or window.is_stalled:
            return
        has_work = bool(lane.in_flight_bytes or lane.ending)
        if lane.pending is not None:
            has_work = lane.pending.may_resume(has_input=has_work)
        if has_work:
            window.go_on()  # all that was produced is delivered, so it is quite open
            lane.resume_waits = True
            self._feed_or_wait(lane)

    def set_excess(self, lane: Lane, excess_bytes: int) -> bool:
        """Note how far the unsent replies of framed `lane` are above its high water.

        Return whether the lane gets its credit by it.
        """
        self.budget.set_excess(lane, excess_bytes)
        if lane.waits_for_credit and not lane.waits_for_slot:
            return self._may_read(lane)
        return False

    def serve_waiters(self) -> list[Lane]:
        """Serve the lanes that wait, in FIFO order; return those that may read on."""
        waiters, served = self._waiters, []
        while waiters and self._feed(waiters[0]):
            lane = waiters.popleft()
            lane.waits_for_slot = False
            if self._may_read(lane):
                served.append(lane)
        for lane in self.budget.serve_waiters():
            if lane.waits_for_credit and self._may_read(lane):
                served.append(lane)
        return served

    def close(self) -> None:
        """Take no new input of any lane; what was published or has overflowed before goes on."""
        self.is_closed = True

    def forget_waiters(self) -> None:
        """Drop who waits: there will be no free slot any more."""
        self._waiters.clear()
        self.budget.forget_waiters()

    def _may_read(self, lane: Lane) -> bool:
        """Give `lane`, which waits for no slot, its credit if it may have it; return whether."""
        has_budget = not lane.is_framed or self.budget.reserve(lane)
        lane.waits_for_credit = not (
            has_budget
            and not lane.waits_for_slot
            and is_half_back(
                lane.in_flight_entries, lane.in_flight_bytes, self._most_entries, self._most_bytes
            )
        )
        return not lane.waits_for_credit

    def _overflow(self, lane: Lane, source: memoryview, nbytes: int) -> None:
        if not 0 <= nbytes <= source.nbytes:
            raise LocalError(f"publish of {nbytes} bytes; {source.nbytes} were claimed")
        lane.overflow = lane.overflow or bytearray()
        lane.overflow += source[:nbytes]
        self.overflows += 1
        self._join_waiters(lane)

    def _feed_or_wait(self, lane: Lane) -> None:
        if lane.waits_for_slot:
            return  # I9: what waits already goes first, and takes this along
        if self._waiters or not self._feed(lane):
            self._join_waiters(lane)

    def _join_waiters(self, lane: Lane) -> None:
        if not lane.waits_for_slot:
            lane.waits_for_slot = True
            self._waiters.append(lane)

    def _feed(self, lane: Lane) -> bool:
        """Put what waits of `lane` into free slots, in order (I10); return whether all went in."""
        ring, side = self._ring, self._side
        while (slot := ring.try_claim(small=True)) is not None:
            if overflow := lane.overflow:
                if len(overflow) > len(slot):
                    slot = ring.try_claim() or slot
                nbytes, kind = min(len(overflow), len(slot)), DATA
                slot[:nbytes] = overflow[:nbytes]
            elif lane.eof_waits:
                nbytes, kind = 0, EOF
            elif lane.resume_waits:
                nbytes, kind = 0, RESUME
            elif lane.close_waits:
                nbytes, kind = 0, CLOSE
            else:
                return True
            ring.publish(lane, kind, slot, nbytes)
            # Without a call in between, where a signal handler may raise: nothing goes twice.
            lane.in_flight_entries += 1
            lane.in_flight_bytes += nbytes
            if kind is DATA:
                del overflow[:nbytes]  # type: ignore[union-attr]  # a bytearray
            elif kind is EOF:
                lane.eof_waits = False
            elif kind is RESUME:
                lane.resume_waits = False
            else:
                lane.close_waits = False
            side.flush_soon()
        return not (lane.overflow or lane.eof_waits or lane.resume_waits or lane.close_waits)
