"""Delivery: gives results to their lanes' sinks, in order, a bounded number at a time.

  I11  a delivery takes at most DELIVERY_ENTRIES entries, then lets the loop iterate

A sink that raises, be it SystemExit, loses no other lane a reply: it is reported, and told that it
failed.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from asyncrev.bridge.admission import Admission
from asyncrev.bridge.lane import Lane
from asyncrev.bridge.lanes import Lanes
from asyncrev.errors import RemoteError
from asyncrev.loop_errors import report_to_loop
from asyncrev.ring.plane import CREDIT, END, OTHER, SENT, Plane
from asyncrev.ring.ring import CLOSE, DATA, EOF, Entry, Ring

__all__ = ["DELIVERY_ENTRIES", "Delivery"]

# 64 sends take about 0.5 ms, so other callbacks of the loop wait no longer for a full ring.
DELIVERY_ENTRIES = 64


class Delivery:
    """Delivers results to the sinks of their lanes. All methods: the loop's thread.

    Attributes:
        loop: whose exception handler hears of defects; set before anything is delivered.
    """

    __slots__ = (
        "_admission",
        "_delivered",
        "_lanes",
        "_plane",
        "_ring",
        "entries_in_use_high",
        "loop",
        "processor_errors",
    )

    def __init__(self, ring: Ring, plane: Plane, admission: Admission, lanes: Lanes) -> None:
        self._ring = ring
        self._plane = plane
        self._admission = admission
        self._lanes = lanes
        self.loop: asyncio.AbstractEventLoop | None = None
        self.entries_in_use_high = 0
        self.processor_errors = 0
        self._delivered: asyncio.Event | None = None  # set at every delivery, once somebody waited

    def deliver(self) -> bool:
        """Deliver what is processed, as far as I11 allows; return whether something was left."""
        ring, plane, admission = self._ring, self._plane, self._admission
        released_seq = ring.released_seq
        in_use = ring.published_seq - released_seq
        if in_use > self.entries_in_use_high:
            self.entries_in_use_high = in_use
        end_seq = min(ring.processed_seq, released_seq + DELIVERY_ENTRIES)
        try:
            while (outcome := plane.deliver(end_seq)) != END:
                self._deliver_one(ring.delivered_seq - 1, outcome)
        except BaseException as raised:
            self._give_up_interrupted(raised)
            raise
        finally:
            # Also when an interrupt ends this: no reply goes twice.
            ring.release(ring.delivered_seq - released_seq)
        if admission.waiting_lanes:
            self.serve_waiters()
        if self._delivered is not None:
            self._delivered.set()
        return ring.processed_seq != ring.released_seq

    def _deliver_one(self, seq: int, outcome: Any) -> None:
        """Do what is left of an entry at which the plane has stopped for `outcome`."""
        admission = self._admission
        lane: Lane
        lane, kind, nbytes, entry = self._ring.returned(seq)
        if outcome == CREDIT:
            if admission.credit(lane):
                self.give_credit(lane)
            return
        admission.entry_returned(lane, entry)
        if lane.pending is not None:
            lane.pending.collect()
        sink = lane.sink
        if sink is None or lane.abandoned:
            admission.reply_delivered(lane, nbytes)
            self._end_without_reply(lane, entry)
            return
        excess_bytes = None
        try:
            if outcome != SENT:
                result = self._ring.result(seq)
                if outcome != OTHER:
                    result = _unsent(result, outcome)
                if result:
                    excess_bytes = sink.on_reply(result)
            credit = admission.reply_delivered(lane, nbytes, excess_bytes)
            if entry is not None:
                if entry.surplus_bytes:
                    # Not before: the sink may have found out that its peer takes no more.
                    self._deliver_surplus(lane, entry)
                if entry.error is not None:
                    self._end_without_reply(lane, entry)
                    return
                if kind is not DATA and self._has_ended(lane, entry):
                    if not lane.abandoned:  # by its own `on_reply`; so the next
                        sink.on_end()
                    lane.abandon()  # no reply can follow, whatever is still published
                    return
            if credit and not lane.abandoned:
                sink.on_credit()
            if lane.in_flight_bytes and not lane.in_flight_entries:
                admission.resume(lane)  # what it has in flight is deferred
        except BaseException as raised:
            # One sink's defect must not cost the others their replies.
            if entry is not None:
                self._deliver_surplus(lane, entry)
            self._give_up(lane, raised)

    def deliver_all(self) -> None:
        """Deliver everything that is processed, however much it is."""
        while self.deliver():
            pass

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits, or has waited, for the end of all work."""
        return self._delivered is not None

    async def wait_answered(self) -> None:
        """Wait until the worker has nothing left that it may do. Any number may wait."""
        if self._delivered is None:
            self._delivered = asyncio.Event()
        while self._lanes.any_being_answered():
            self._delivered.clear()
            await self._delivered.wait()

    def serve_waiters(self) -> None:
        """Give free slots and budget to the lanes that wait, and tell those that may read on."""
        for lane in self._admission.serve_waiters():
            self.give_credit(lane)

    def give_credit(self, lane: Lane) -> None:
        """Tell `lane`'s sink, if it still has one, that it may publish again."""
        if lane.sink is not None and not lane.abandoned:
            self.tell(lane, lane.sink.on_credit)

    def look(self, lane: Lane, now_s: float) -> None:
        """Have `lane`'s sink look at its deadlines."""
        if lane.sink is not None:
            self.tell(lane, lane.sink.on_sweep, now_s)

    def tell(self, lane: Lane, method: Callable[..., object], *args: object) -> None:
        """Call a method of `lane`'s sink."""
        try:
            method(*args)
        except BaseException as raised:
            self._give_up(lane, raised)

    def fail(self, lane: Lane, error: BaseException) -> None:
        """Tell `lane`'s sink of an error that ends it: no reply, end or credit follows."""
        self.note_failure(lane, error)
        if lane.sink is not None:
            self.tell(lane, lane.sink.on_error, error)
        elif not isinstance(error, RemoteError):
            self.report("a processor failed after its connection had gone", error)

    def note_failure(self, lane: Lane, error: BaseException) -> None:
        """Count `error`, which ends `lane`; no reply, end or credit follows."""
        self.processor_errors += not isinstance(error, RemoteError)
        lane.abandon()

    def report(self, message: str, error: BaseException) -> None:
        """Have the loop's exception handler hear of `error`; what the handler raises is logged."""
        assert self.loop is not None
        report_to_loop(self.loop, message, error)

    def pass_on_interrupt(self, error: BaseException) -> None:
        """Have the loop raise `error` in its next iteration if it may be the user's Ctrl-C.

        It may be where no handler of SIGINT is installed but Python's own, which raises
        KeyboardInterrupt in whatever the main thread runs; `asyncio.run` installs another.
        """
        if (
            isinstance(error, KeyboardInterrupt)
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            assert self.loop is not None
            self.loop.call_soon(_raise, error)

    def _has_ended(self, lane: Lane, entry: Entry) -> bool:
        """Return whether `entry` is the last one of `lane`; else have it go on to its end."""
        if entry.ended:
            lane.ending = False
            return True
        lane.ending = lane.ending or entry.kind is EOF
        self._admission.resume(lane)
        return False

    def _deliver_surplus(self, lane: Lane, entry: Entry) -> None:
        lane.work.window.deliver(entry.surplus_bytes)
        entry.surplus_bytes = 0
        entry.result = None  # now, or many such replies would be here twice

    def _end_without_reply(self, lane: Lane, entry: Entry | None) -> None:
        if entry is None:
            return
        if entry.surplus_bytes:
            self._deliver_surplus(lane, entry)
        if entry.kind is CLOSE:
            self._lanes.discard(lane)
        if entry.error is not None:
            self.fail(lane, entry.error)

    def _give_up_interrupted(self, raised: BaseException) -> None:
        """End the lane of the last entry: nobody knows whether its reply was sent and counted."""
        ring = self._ring
        delivered_seq = ring.delivered_seq
        if delivered_seq == ring.released_seq:
            return
        lane: Lane
        lane, kind, _, _ = ring.returned(delivered_seq - 1)
        lane.in_flight_entries = sum(
            ring.owner(seq) is lane for seq in range(delivered_seq, ring.published_seq)
        )
        if kind is CLOSE:
            self._admission.budget.forget(lane)
            self._lanes.discard(lane)
        if lane.sink is not None and not lane.abandoned:
            lane.abandon()
            self.tell(lane, lane.sink.on_error, raised)

    def _give_up(self, lane: Lane, raised: BaseException) -> None:
        """Report what `lane`'s sink raised, and tell it that nothing more comes: it lost a call."""
        self.report("a sink of the bridge raised", raised)
        self.pass_on_interrupt(raised)
        if lane.sink is not None and not lane.abandoned:
            lane.abandon()
            self.tell(lane, lane.sink.on_error, raised)


def _unsent(result: Any, outcome: int | BaseException) -> memoryview:
    """Return what of a reply was not sent; raise what was raised meanwhile."""
    if isinstance(outcome, BaseException):
        raise outcome
    return memoryview(result)[outcome:]


def _raise(error: BaseException) -> NoReturn:
    raise error
