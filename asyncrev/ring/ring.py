"""The ring: pre-allocated entries and slots, and three cursors that only grow.

Theory of operation. An entry has a small slot of its own; a slot is lent to it when it is published
and comes back when it is released. An entry is handed on three times: the loop fills a slot and
publishes it, the worker processes it, the loop takes its result and releases it. The thread that
may touch an entry and its slot follows from the entry's sequence number:

  I1  released_seq <= processed_seq <= published_seq <= released_seq + entries
  I2  entries in [processed_seq, published_seq) belong to the worker, all others to the loop
  I3  published_seq and released_seq are written by the loop only, processed_seq by the worker only
  I4  input_closed and output_closed go from False to True once, and never back

The ring only keeps accounts: it never waits, and uses neither threads nor sockets. Wake-ups are in
`wakeups`, the two sides in `loop_side` and `thread_side`. Other modules read the cursors and the
two flags directly, which costs a tenth of a call; they change the ring and find entries by methods
only.

ORDER: an entry is written before the cursor that hands it on. The GIL keeps that order; so does
a free-threaded build, where the store of a slot attribute releases and its load acquires
(CPython, Python/structmember.c). That is enough to hand an entry on, but not to decide whether
the other thread sleeps: that needs a store before a load, hence the locks in `wakeups`.

  I19 each thread has a view of each slot, and slices no view that the other may slice meanwhile

I19 is for free-threaded builds: a memoryview's slices are counted in a shared object, and the count
is wrong after two threads slice at once, until the memory is taken for released
(github.com/python/cpython/issues/155606).
"""

import enum
import mmap
from typing import Any

from asyncrev.errors import LocalError, SettingsError
from asyncrev.limits import SMALL_SLOT_BYTES, SMALL_SLOT_GAP_BYTES

__all__ = ["CLOSE", "DATA", "EOF", "RESUME", "Entry", "Kind", "Ring"]


class Kind(enum.Enum):
    """What an entry carries. Control uses the same way as data, which keeps their order."""

    DATA = "data"
    EOF = "eof"  # no more input of this owner; its processor may add a last reply
    RESUME = "resume"  # process more of the owner's deferred input
    CLOSE = "close"  # the owner has gone; the worker drops what it keeps for it


# Reading a member from its class takes 70 ns on CPython 3.11 (the metaclass's __getattr__).
DATA, EOF, RESUME, CLOSE = Kind.DATA, Kind.EOF, Kind.RESUME, Kind.CLOSE


class Entry:
    """The record of one chunk in the ring, with a small slot for it.

    Attributes:
        small_slot: the loop's view of the entry's own memory, for small chunks: writable,
            contiguous, format "B".
        slot: the loop's view of the slot that contains the chunk, `small_slot` or a lent one.
        view: the worker's view of the same slot, also writable. Valid from `publish` to `release`.
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
        "slot",
        "small_slot",
        "small_view",
        "surplus_bytes",
        "view",
    )

    def __init__(self, small_slot: memoryview, small_view: memoryview | None = None) -> None:
        """Make an entry with two views of its small slot, or with one for use by one thread."""
        self.small_slot = self.slot = small_slot
        self.small_view = self.view = small_slot if small_view is None else small_view
        self.owner: Any = None
        self.kind = DATA
        self.nbytes = 0
        self.result: bytes | memoryview | tuple[bytes | memoryview, ...] | None = None
        self.error: BaseException | None = None
        self.partial_frame_bytes = 0
        self.frame_seq = 0
        self.calls = 0
        self.surplus_bytes = 0
        self.ended = False


class Ring:
    """Slots, entries and cursors. Each method states which thread may call it."""

    __slots__ = (
        "entries",
        "free_entries",
        "free_slots",
        "free_views",
        "input_closed",
        "nentries",
        "output_closed",
        "processed_seq",
        "published_seq",
        "released_seq",
        "slot_bytes",
        "slots",
        "small_slot_bytes",
        "storage",
    )

    def __init__(
        self,
        slots: int,
        slot_bytes: int,
        entries: int | None = None,
        small_slot_bytes: int = SMALL_SLOT_BYTES,
    ) -> None:
        """Allocate everything that the ring will ever use.

        Args:
            slots: how many large chunks the ring can contain.
            slot_bytes: length of a slot.
            entries: how many chunks the ring can contain, by default `slots`.
            small_slot_bytes: length of the small slot of each entry, at most `slot_bytes`.

        Raises:
            SettingsError: `slots` or `slot_bytes` is below 1, or `entries` is below `slots`.
        """
        if slots < 1 or slot_bytes < 1:
            raise SettingsError(
                f"a ring of {slots} slots of {slot_bytes} bytes cannot be; both must be >= 1"
            )
        self.nentries = slots if entries is None else entries
        if self.nentries < slots:
            raise SettingsError(f"a ring of {entries} entries cannot use {slots} slots")
        self.slots = slots
        self.slot_bytes = slot_bytes
        self.small_slot_bytes = min(small_slot_bytes, slot_bytes)
        # An anonymous mapping, because its pages become resident only when they are first written:
        # a server of small messages does not pay for the slots. Private, so that a forked child
        # does not write into the same slots.
        stride_bytes = self.small_slot_bytes + SMALL_SLOT_GAP_BYTES
        small_bytes = self.nentries * stride_bytes
        self.storage = mmap.mmap(
            -1, slots * slot_bytes + small_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        )
        view = memoryview(self.storage)
        small_starts = range(0, small_bytes, stride_bytes)
        starts = range(small_bytes, small_bytes + slots * slot_bytes, slot_bytes)
        # Slots and entries that were freed last are used first: their memory is still in the
        # cache. Worth 14 % with 64 KiB messages against a cycle (docs/decisions/0003-slots.md).
        self.free_slots = [view[start : start + slot_bytes] for start in starts]
        self.free_views = [self._worker_view(start, slot_bytes) for start in starts]  # of the same
        self.free_entries = [
            Entry(
                view[start : start + self.small_slot_bytes],
                self._worker_view(start, self.small_slot_bytes),
            )
            for start in small_starts
        ]
        # The entry of each sequence number in [released_seq, published_seq). Writer: loop; readers:
        # both.
        self.entries = self.free_entries.copy()
        self.published_seq = 0  # writer: loop; reader: worker
        self.processed_seq = 0  # writer: worker; reader: loop
        self.released_seq = 0  # writer: loop; reader: worker (I18)
        self.input_closed = False  # writer: the thread that stops first; readers: both
        self.output_closed = False  # writers: worker, the loop when it leaves a channel

    def _worker_view(self, start: int, nbytes: int) -> memoryview:
        # Not a slice of another slot's view: the loop slices replies, which are slices of this
        # view.
        return memoryview(self.storage)[start : start + nbytes]

    def try_claim(self, *, small: bool = False) -> memoryview | None:
        """Return a free slot or small slot for a chunk, or None if there is none.

        None also once the input is closed. Thread: loop. Valid until `publish`; claiming again
        before that returns the same slot.
        """
        if not self.free_entries or self.input_closed:
            return None
        if small:
            return self.free_entries[-1].small_slot
        return self.free_slots[-1] if self.free_slots else None

    def publish(self, owner: object, kind: Kind, slot: memoryview, nbytes: int) -> None:
        """Hand the first `nbytes` bytes of `slot`, the slot claimed last, to the worker.

        Thread: loop.

        Raises:
            LocalError: `slot` cannot be claimed, or has fewer than `nbytes` bytes.
        """
        if not 0 <= nbytes <= len(slot):
            raise LocalError(f"publish of {nbytes} bytes; the slot has {len(slot)}")
        free_entries = self.free_entries
        if not free_entries:
            raise LocalError(f"publish on a full ring: all {self.nentries} entries are in use")
        entry = free_entries[-1]
        if slot is entry.small_slot:
            entry.view = entry.small_view
        else:
            if not self.free_slots or slot is not self.free_slots[-1]:
                raise LocalError("publish of memory that is not the slot that was claimed last")
            self.free_slots.pop()
            entry.view = self.free_views.pop()
        free_entries.pop()
        entry.slot = slot
        entry.owner = owner
        entry.kind = kind
        entry.nbytes = nbytes
        seq = self.published_seq
        self.entries[seq % self.nentries] = entry
        # ORDER: after the entry, its place and the slot's bytes, which this store publishes (I2,
        # I3).
        self.published_seq = seq + 1

    def entries_between(self, first_seq: int, end_seq: int) -> list[Entry]:
        """Return the entries of the half-open range, at most one cycle long, oldest first.

        Thread: the one that owns the range (I2).
        """
        if first_seq == end_seq:
            return []
        first_off, end_off = first_seq % self.nentries, end_seq % self.nentries
        if first_off < end_off:
            return self.entries[first_off:end_off]
        return self.entries[first_off:] + self.entries[:end_off]

    def entry(self, seq: int) -> Entry:
        """Return the entry of a sequence number in [released_seq, published_seq).

        Thread: the one that owns it (I2).
        """
        return self.entries[seq % self.nentries]

    def results(self, most: int) -> list[Entry]:
        """Return up to `most` processed entries, oldest first.

        Thread: loop. Valid until `release`.
        """
        first_seq = self.released_seq
        return self.entries_between(first_seq, min(self.processed_seq, first_seq + most))

    def mark_processed(self) -> None:
        """Hand the oldest unprocessed entry, with its result, back to the loop.

        Thread: worker.

        Raises:
            LocalError: no entry is waiting for the worker.
        """
        seq = self.processed_seq
        if seq >= self.published_seq:
            raise LocalError(f"nothing to process: all {seq} published entries are done")
        # ORDER: after the entry's result and error, which this store publishes (I2, I3).
        self.processed_seq = seq + 1

    def release(self, nentries: int) -> None:
        """Make the slots of the oldest `nentries` processed entries claimable again.

        Thread: loop. Views of these slots are invalid from here on.

        Raises:
            LocalError: fewer entries are processed; the message has both numbers.
        """
        seq = self.released_seq
        ready = self.processed_seq - seq
        if not 0 <= nentries <= ready:
            raise LocalError(f"release of {nentries} entries; {ready} are processed")
        for entry in self.entries_between(seq, seq + nentries):
            entry.owner = entry.result = entry.error = None
            if entry.slot is not entry.small_slot:
                self.free_slots.append(entry.slot)
                self.free_views.append(entry.view)
            self.free_entries.append(entry)
        # ORDER: after the results are dropped; this store gives lent blocks back (I18).
        self.released_seq = seq + nentries

    def close_input(self) -> None:
        """Close the input: nothing more is published (I4). Thread: the one that stops first."""
        self.input_closed = True

    def close_output(self) -> None:
        """Close the output: no more results come (I4). Thread: worker, or the loop at the end."""
        self.output_closed = True
