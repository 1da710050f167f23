"""The plane: the steady state of many connections, in one call per loop iteration or batch.

Theory of operation. Nearly every chunk is received from a plain socket, answered with bytes, and
the reply is taken by the kernel at once. The plane does that for all ready connections in one call
each: `receive` and `deliver` on the loop's thread, `answer` on the worker's. It reads and writes
the ring's columns and the counts of `Row`, and calls nothing else of asyncrev.

What is not so plain is an *exception*: the call returns there, says why, and goes on behind it when
it is called again. So exceptions are decided upon in the order of the entries or events, by
`bridge` and the transports, and everything before them is done. The same columns serve
connections that the plane has no socket of, by `Ring.publish` and as exceptions of `deliver`.

  I3  published_seq is written by the loop only, processed_seq by the worker only
  I8  a lane with entries or bytes in flight above its quota may not publish until half is back
"""

import select
from collections.abc import Callable
from typing import Any, Final

from asyncrev.processors import as_reply
from asyncrev.ring.durations import Counts, Durations
from asyncrev.ring.ring import DATA, Entry, Ring
from asyncrev.ring.row import SMALL_READS, Row, adapted_read_bytes, no_socket
from asyncrev.ring.wakeups import DeliverySignal, Parker

__all__ = [
    "BACKSTOP_S",
    "CREDIT",
    "END",
    "OTHER",
    "OVER_QUOTA",
    "RESERVE",
    "SENT",
    "Plane",
    "wait_published",
]

# Why a call returned; a number of 0 or more is one of bytes, and an OSError stands for itself.
OTHER: Final = -1  # not the plane's business: nothing was done
OVER_QUOTA: Final = -2  # receive: published, and the row may publish no more for now
CREDIT: Final = -3  # deliver: the reply is sent and counted, and half of the quota is back
END: Final = -4  # all is done
SENT: Final = -5  # deliver: the reply is sent, and what it changes is left to be decided
RESERVE: Final = -6  # receive: published, and the row must reserve for what it holds now

# A worker that has nothing to do wakes this often as a backstop, as Log4j and the Disruptor do
# (github.com/LMAX-Exchange/disruptor/issues/138). An interval of 10 ms used 28 % of a core in
# Apache Storm, and 1 s still 5 %; `Parker.backstop_wakes` shows that ours has nothing to catch.
BACKSTOP_S = 5.0

_PLAIN_REPLIES = (bytes, memoryview)  # what needs no `Entry`, if it is not longer
_READABLE: int = getattr(select, "EPOLLIN", 1)


def wait_published(
    ring: Ring, parker: Parker, taken_seq: int, timeout_s: float
) -> tuple[int, bool]:
    """Sleep until an entry from `taken_seq` on is published, or the input is closed.

    Thread: worker. Below 0, `timeout_s` is for ever. Returns `published_seq`, and whether nothing
    will be published any more.
    """

    def has_work() -> bool:
        return ring.published_seq != taken_seq or ring.input_closed

    if ring.published_seq == taken_seq:
        if timeout_s < 0:
            while not parker.park(has_work, BACKSTOP_S):
                pass
        elif timeout_s > 0:
            parker.park(has_work, timeout_s)
    # ORDER: the flag before the cursor, because the last publish precedes the close.
    is_closed = ring.input_closed
    return ring.published_seq, is_closed


class Plane:
    """Receives, answers and delivers plain chunks over a ring. Each method names its thread.

    Attributes:
        is_closed: whether no new input is taken. Writer: loop.
        framed_reads: whether a framed row that holds little may receive what it wants. Writer:
            loop, before each `receive`.
        deliveries, entries_in_use_high: of `poll`, which only the native plane has.
        batches, largest_batch: how many batches the worker has taken, and the most entries of one.
            Writer: worker; readers: any.
    """

    deliveries = 0
    entries_in_use_high = 0

    __slots__ = (
        "_durations",
        "_half_bytes",
        "_half_entries",
        "_little_bytes",
        "_most_bytes",
        "_most_entries",
        "_ring",
        "_rows",
        "batches",
        "framed_reads",
        "is_closed",
        "largest_batch",
    )

    def __init__(
        self, ring: Ring, most_entries: int, most_bytes: int, little_bytes: int = 0
    ) -> None:
        """Work on `ring`; a row may have so many entries and bytes in flight.

        A framed row that holds more than `little_bytes` must reserve for it.
        """
        self._ring = ring
        self._rows: dict[int, Row] = {}  # by descriptor
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._half_entries = most_entries // 2
        self._half_bytes = most_bytes // 2
        self._little_bytes = little_bytes
        self.is_closed = False
        self.framed_reads = False
        self.batches = 0
        self.largest_batch = 0
        self._durations: Durations | None = None  # writer: loop, once; readers: both

    # -- loop ------------------------------------------------------------------------------

    def open(
        self,
        fd: int,
        row: Row,
        recv_into: Callable[[memoryview], int],
        send: Callable[[Any], int],
    ) -> None:
        """Serve the non-blocking stream socket `fd` for `row`, as its `reads` and `sends` allow.

        Thread: loop. Call `close` before the descriptor is closed; one that is served already is
        closed here first.

        Args:
            fd: the descriptor, as in the events of `receive`.
            row: whose input and replies those are.
            recv_into, send: like those of a socket.
        """
        self.close(fd)
        row.recv_into, row.send = recv_into, send
        self._rows[fd] = row

    def close(self, fd: int) -> Row | None:
        """Serve `fd` no more; return its row, or None if it was not served. Thread: loop."""
        row = self._rows.pop(fd, None)
        if row is not None:
            row.reads = row.sends = False
            row.recv_into = row.send = no_socket
        return row

    @property
    def served(self) -> int:
        """How many descriptors are served. Thread: any."""
        return len(self._rows)

    def row(self, fd: int) -> Row | None:
        """Return the row of a descriptor that is served. Thread: loop."""
        return self._rows.get(fd)

    def receive(self, events: list[tuple[int, int]], start: int) -> tuple[int, Any]:
        """Receive once from each ready socket, into slots, and publish what came.

        Thread: loop. The caller flushes.

        Args:
            events: descriptors with epoll's events, in the order of the poll. Descriptors that are
                not served are passed over.
            start: the index of the first event to look at.

        Returns:
            The index of an exception and what it is: OTHER, OVER_QUOTA, RESERVE, 0 for an end of
            input, or what the receive has raised: an OSError, or an interrupt, after which nobody
            knows whether bytes were received; or the length of `events` and END.
        """
        ring, rows = self._ring, self._rows
        if self.is_closed or ring.input_closed:
            return self._pass_over(events, start)
        small_slots, large_slots = ring.free_small_slots, ring.free_slots
        views, small_slot_bytes = ring.loop_views, ring.small_slot_bytes
        owners, slot_of, sizes, nentries = ring.owners, ring.slot_of, ring.sizes, ring.nentries
        most_entries, most_bytes = self._most_entries, self._most_bytes
        framed_reads, little_bytes = self.framed_reads, self._little_bytes
        seq, full_seq = ring.published_seq, ring.released_seq + nentries
        pos = seq % nentries
        for index in range(start, len(events)):
            fd, mask = events[index]
            row = rows.get(fd)
            if row is None:
                continue
            is_small = row.small_reads >= SMALL_READS
            free = small_slots if is_small else large_slots
            if (
                mask != _READABLE
                or not row.reads
                or row.waits_for_slot
                or seq == full_seq
                or not free
            ):
                return index, OTHER
            view = views[free[-1]]
            if row.is_framed:
                held_bytes = row.partial_frame_bytes + row.in_flight_bytes
                if not framed_reads or row.reserved_bytes or held_bytes > little_bytes:
                    return index, OTHER
                if row.read_bytes < len(view):
                    view = view[: row.read_bytes]
            recv_into = row.recv_into  # CPython 3.11 is slow at calls of slots' values
            try:
                nbytes = recv_into(view)
            except (BlockingIOError, InterruptedError):
                continue
            except BaseException as error:
                return index, error
            if not nbytes:
                return index, 0
            if nbytes >= small_slot_bytes:
                row.small_reads = 0
            elif not is_small:
                row.small_reads += 1
            owners[pos] = row
            slot_of[pos] = free[-1]
            sizes[pos] = nbytes
            pos += 1
            if pos == nentries:
                pos = 0
            seq += 1
            del free[-1]  # there is no call since the receive: a signal handler may raise at each
            # ORDER: after the row and the slot's bytes, which this store publishes (I2, I3).
            ring.published_seq = seq
            row.received_bytes += nbytes
            row.look_at_s = 0.0
            entries = row.in_flight_entries = row.in_flight_entries + 1
            in_flight_bytes = row.in_flight_bytes = row.in_flight_bytes + nbytes
            if entries >= most_entries or in_flight_bytes >= most_bytes:  # I8
                row.waits_for_credit = True
                return index, OVER_QUOTA
            if row.is_framed and row.partial_frame_bytes + in_flight_bytes > little_bytes:
                return index, RESERVE
        return len(events), END

    def _pass_over(self, events: list[tuple[int, int]], start: int) -> tuple[int, Any]:
        for index in range(start, len(events)):
            if events[index][0] in self._rows:
                return index, OTHER
        return len(events), END

    def deliver(self, end_seq: int) -> Any:
        """Send the replies to processed entries from `delivered_seq` on, in order.

        Thread: loop. The caller releases the entries, and does what is left of an exception, which
        is the entry before `delivered_seq`.

        Args:
            end_seq: where to stop, at most `processed_seq`.

        Returns:
            END; or, at an exception, OTHER; SENT, when the reply is sent and what it changes is
            left to be decided; CREDIT; or how many bytes of the reply were sent, when the kernel
            did not take all of it; or what was raised meanwhile, such as KeyboardInterrupt. At the
            last two, as at OTHER, nothing else was done.
        """
        ring = self._ring
        owners, results, reports = ring.owners, ring.results, ring.reports
        sizes, nentries = ring.sizes, ring.nentries
        first_seq = ring.delivered_seq
        pos = first_seq % nentries - 1
        for seq in range(first_seq, end_seq):
            ring.delivered_seq = seq + 1  # first, so that an interrupt makes no reply go twice
            pos += 1
            if pos == nentries:
                pos = 0
            row, report = owners[pos], reports[pos]
            if not row.sends or row.abandoned:
                return OTHER
            if report is None:
                reply = results[pos]
            elif report.error is not None or report.kind is not DATA or report.surplus_bytes:
                return OTHER
            else:
                reply = report.result
                if type(reply) is tuple:
                    return OTHER
            if reply:
                send = row.send
                try:
                    sent_bytes = send(reply)
                    is_whole = sent_bytes == len(reply)
                except OSError:
                    return 0  # whoever sends the rest sees the error again
                except BaseException as raised:
                    return raised
                row.replied_bytes += sent_bytes
                if not is_whole:
                    return sent_bytes
            if not self._count_delivered(row, report, sizes[pos]):
                return SENT
            if (
                row.waits_for_credit
                and row.in_flight_entries <= self._half_entries
                and row.in_flight_bytes <= self._half_bytes
            ):
                return CREDIT
        return END

    def _count_delivered(self, row: Row, report: Entry | None, nbytes: int) -> bool:
        """Count a delivered entry; return False if more is to be decided: then nothing is done."""
        entries_left = row.in_flight_entries - 1
        if report is None:
            bytes_left = row.in_flight_bytes - nbytes
        else:
            bytes_left = row.in_flight_bytes - report.nbytes
            if bytes_left and not entries_left:
                return False  # what the worker has deferred gets its turn
        if row.is_framed:
            partial_frame_bytes = row.partial_frame_bytes
            calls = 0
            if report is not None:
                partial_frame_bytes, calls = report.partial_frame_bytes, report.calls
                nbytes = report.nbytes
            if (
                row.reserved_bytes
                or row.waits_for_slot
                or partial_frame_bytes + bytes_left > self._little_bytes
            ):
                return False  # its reservation changes
            row.partial_frame_bytes = partial_frame_bytes
            if report is not None:
                row.frame_seq = report.frame_seq
            row.read_bytes = adapted_read_bytes(
                row.read_bytes, nbytes, calls, self._ring.slot_bytes
            )
        row.in_flight_entries = entries_left
        row.in_flight_bytes = bytes_left
        return True

    # -- durations -------------------------------------------------------------------------

    def measure(self) -> None:
        """Measure durations from now on; see `Durations`. Idempotent. Thread: loop."""
        if self._durations is None:
            self._durations = Durations(self._ring)

    def note_awake(self) -> None:
        """See `Durations`, as for the next three; nothing before `measure`. Thread: loop."""
        if self._durations is not None:
            self._durations.note_awake()

    def note_poll(self) -> None:
        """The loop is about to poll. Thread: loop."""
        if self._durations is not None:
            self._durations.note_poll()

    def note_published(self) -> None:
        """Entries have been published. Thread: loop."""
        if self._durations is not None:
            self._durations.note_published()

    def note_released(self) -> None:
        """Entries have been released. Thread: loop."""
        if self._durations is not None:
            self._durations.note_released()

    def durations(self) -> tuple[Counts, Counts, Counts] | None:
        """Return the counts of `Durations`, or None before `measure`. Thread: loop."""
        return None if self._durations is None else self._durations.counts()

    # -- worker ----------------------------------------------------------------------------

    def wait(
        self, taken_seq: int, parker: Parker, signal: DeliverySignal, timeout_s: float, stays: bool
    ) -> tuple[int, bool]:
        """Wait until an entry from `taken_seq` on is published, or the input is closed.

        Thread: worker. The native plane answers entries that need no Python meanwhile, and hands
        them back; so `processed_seq` may be above `taken_seq` afterwards.

        Args:
            taken_seq: those below it were taken before.
            parker: lets the worker sleep.
            signal: requests a delivery of what is processed, before any sleep.
            timeout_s: when to return all the same; below 0 never.
            stays: whether to go on waiting after such an entry; otherwise it counts as one that is
                published.

        Returns:
            `published_seq`, and whether nothing will be published any more.
        """
        ring = self._ring
        if ring.processed_seq != ring.released_seq:  # otherwise the loop has delivered everything
            signal.request()  # ORDER: after the cursor (I6), before any sleep.

        published_seq, is_closed = wait_published(ring, parker, taken_seq, timeout_s)
        if published_seq != taken_seq:
            self.batches += 1
            self.largest_batch = max(self.largest_batch, published_seq - taken_seq)
        return published_seq, is_closed

    def answer(self, end_seq: int, signal: DeliverySignal, pool: object, share: object) -> None:
        """Have published entries from `processed_seq` on answered, in order, and hand them back.

        Thread: worker. A plain chunk is given to its processor here. Of any other entry, and where
        `Work.plain` declines, an `Entry` is given to `LaneWork.do`, which leaves there what the
        loop has to know.

        Args:
            end_seq: where to stop, at most `published_seq`.
            signal: requests a delivery when the loop sleeps.
            pool, share: for `LaneWork.do`.
        """
        ring = self._ring
        owners, kinds, views, slot_of = ring.owners, ring.kinds, ring.work_views, ring.slot_of
        sizes, results, nentries = ring.sizes, ring.results, ring.nentries
        storage = ring.storage
        first_seq = ring.processed_seq
        pos = first_seq % nentries - 1
        durations = self._durations
        if durations is not None:
            durations.note_taken()
        for seq in range(first_seq, end_seq):
            pos += 1
            if pos == nentries:
                pos = 0
            work = owners[pos].work
            processor = work.plain
            if processor is None or kinds[pos] is not DATA or work.abandoned:
                work.do(ring.entry(seq), storage, pool, share)
            else:
                nbytes = sizes[pos]
                declined = False
                try:
                    result = processor.process(views[slot_of[pos]][:nbytes])
                    declined = result is NotImplemented and hasattr(processor, "may_decline")
                    if declined:
                        result = None
                    if type(result) is memoryview:
                        result = as_reply(result, storage, views_allowed=work.views_allowed)
                    if type(result) in _PLAIN_REPLIES and len(result) <= nbytes:
                        results[pos] = result
                    elif result is not None:
                        work.answer(ring.entry(seq), result, storage)
                except BaseException as error:
                    work.fail(ring.entry(seq), error)
                if declined:
                    work.do(ring.entry(seq), storage, pool, share)
            # ORDER: after the entry's result and error, which this store publishes (I2, I3).
            ring.processed_seq = seq + 1
            if not signal.awaited:
                signal.request()  # ORDER: after the cursor (I6).
            if durations is not None:
                durations.note_processed()
