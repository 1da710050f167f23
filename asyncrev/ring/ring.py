"""The ring: pre-allocated rows and slots, and three cursors that only grow.

Theory of operation. An entry is a row of columns, and its sequence number is its handle. It takes
one of the slots, small or large, when it is published, and gives it back when it is released. An
entry is handed on three times: the loop fills a slot and publishes it, the worker processes it, the
loop takes its result and releases it. The thread that may touch an entry and its slot follows from
the entry's sequence number:

  I1  released_seq <= processed_seq <= published_seq <= released_seq + entries
  I2  entries in [processed_seq, published_seq) belong to the worker, all others to the loop
  I3  published_seq and released_seq are written by the loop only, processed_seq by the worker only
  I4  input_closed and output_closed go from False to True once, and never back

The columns have what every entry has. What only few have, such as an error or a partial frame, is
in an `Entry`, an object that is attached to the row when somebody asks for it (`Ring.entry`).

The ring only keeps accounts: it never waits, and uses neither threads nor sockets. Wake-ups are in
`wakeups`, the two sides in `loop_side` and `thread_side`, what works on many rows in one call is in
`plane`. Other modules read the cursors and the two flags directly, which costs a tenth of a call;
they change the ring and find entries by methods only, but for `plane`, which is a part of it.

ORDER: an entry is written before the cursor that hands it on. The GIL keeps that order; so does
a free-threaded build, where the store of a slot attribute releases and its load acquires
(CPython, Python/structmember.c), and where each list has a lock of its own. That is enough to hand
an entry on, but not to decide whether the other thread sleeps: that needs a store before a load,
hence the locks in `wakeups`.

  I19 each thread has a view of each slot, and slices no view that the other may slice meanwhile

I19 is for free-threaded builds: a memoryview's slices are counted in a shared object, and the count
is wrong after two threads slice at once, until the memory is taken for released
(github.com/python/cpython/issues/155606).
"""

from typing import Any

from asyncrev.errors import LocalError
from asyncrev.limits import SMALL_SLOT_BYTES
from asyncrev.ring.entry import CLOSE, DATA, EOF, RESUME, Entry, Kind, Result
from asyncrev.ring.storage import Storage, allocate

# Of `entry`: who uses the ring needs them.
__all__ = ["CLOSE", "DATA", "EOF", "RESUME", "Entry", "Kind", "Result", "Ring"]


class Ring:
    """Columns, slots and cursors. Each method states which thread may call it.

    A row is at its sequence number modulo `nentries`. Slots have numbers, the small ones first.
    The lists are for `plane`, and for tests.

    Attributes:
        owners: whose the bytes are: an object, never a descriptor, which may be reused.
        kinds: data or control.
        slot_of: the number of the slot that contains the chunk.
        sizes: the length of the chunk.
        results: the reply, or None, as in `Entry`. Written by the worker.
        reports: the row's `Entry` if it is attached, or None. What it says counts then, and not the
            columns `kinds`, `sizes` and `results`.
        loop_views, work_views: by slot, the loop's and the worker's view of it.
        free_slots, free_small_slots: numbers of slots; the one freed last is at the right end.
        delivered_seq: released_seq <= delivered_seq <= processed_seq: entries below it were given
            to their sinks, or are being given. Writer and reader: loop.
    """

    __slots__ = (
        "_data_kinds",
        "_entries",
        "_nones",
        "delivered_seq",
        "free_slots",
        "free_small_slots",
        "input_closed",
        "kinds",
        "loop_views",
        "nentries",
        "output_closed",
        "owners",
        "processed_seq",
        "published_seq",
        "released_seq",
        "reports",
        "results",
        "sizes",
        "slot_bytes",
        "slot_of",
        "slots",
        "small_slot_bytes",
        "storage",
        "work_views",
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
            entries: how many chunks the ring can contain, by default `slots`. There are as many
                small slots.
            small_slot_bytes: length of a small slot, at most `slot_bytes`.

        Raises:
            SettingsError: `slots` or `slot_bytes` is below 1, or `entries` is below `slots`.
        """
        storage = allocate(slots, slot_bytes, entries, small_slot_bytes)
        nentries = self.nentries = storage.entries
        self.slots = slots
        self.slot_bytes = slot_bytes
        self.small_slot_bytes = storage.small_slot_bytes
        self.storage = storage.memory
        self._divide(storage)
        # Slots that were freed last are used first: their memory is still in the cache. Worth 14 %
        # with 64 KiB messages against a cycle (docs/decisions/0003-slots.md).
        self.free_small_slots = list(range(nentries))
        self.free_slots = list(range(nentries, nentries + slots))
        self._nones: list[Any] = [None] * nentries
        self._data_kinds = [DATA] * nentries
        # Of each entry: the loop writes the first four, the worker the other two (I2).
        self.owners: list[Any] = self._nones.copy()
        self.kinds = self._data_kinds.copy()
        self.slot_of = [0] * nentries
        self.sizes = [0] * nentries
        self.results: list[Result] = self._nones.copy()
        self.reports: list[Entry | None] = self._nones.copy()
        self._entries: list[Entry | None] = self._nones.copy()  # made for a row, at its first use
        self.published_seq = 0  # writer: loop; reader: worker
        self.processed_seq = 0  # writer: worker; reader: loop
        self.released_seq = 0  # writer: loop; reader: worker (I18)
        self.delivered_seq = 0
        self.input_closed = False  # writer: the thread that stops first; readers: both
        self.output_closed = False  # writers: worker, the loop when it leaves a channel

    def _divide(self, storage: Storage) -> None:
        small_bytes = storage.entries * storage.stride_bytes
        spans = [
            (off, storage.small_slot_bytes) for off in range(0, small_bytes, storage.stride_bytes)
        ]
        spans += [
            (small_bytes + number * storage.slot_bytes, storage.slot_bytes)
            for number in range(storage.slots)
        ]
        whole = memoryview(storage.memory)
        self.loop_views = [whole[off : off + nbytes] for off, nbytes in spans]
        self.work_views = [self._worker_view(off, nbytes) for off, nbytes in spans]

    def _worker_view(self, start: int, nbytes: int) -> memoryview:
        # Not a slice of another slot's view: the loop slices replies, which are slices of this
        # view.
        return memoryview(self.storage)[start : start + nbytes]

    @property
    def free_entries(self) -> int:
        """How many more entries can be published. Thread: loop."""
        return self.released_seq + self.nentries - self.published_seq

    def try_claim(self, *, small: bool = False) -> memoryview | None:
        """Return a free slot or small slot for a chunk, or None if there is none.

        None also once the input is closed. Thread: loop. Valid until `publish`; claiming again
        before that returns the same slot.
        """
        if self.published_seq - self.released_seq >= self.nentries or self.input_closed:
            return None
        free = self.free_small_slots if small else self.free_slots
        return self.loop_views[free[-1]] if free else None

    def publish(self, owner: object, kind: Kind, slot: memoryview, nbytes: int) -> None:
        """Hand the first `nbytes` bytes of `slot`, the slot claimed last, to the worker.

        Thread: loop.

        Raises:
            LocalError: `slot` cannot be claimed, or has fewer than `nbytes` bytes.
        """
        if not 0 <= nbytes <= len(slot):
            raise LocalError(f"publish of {nbytes} bytes; the slot has {len(slot)}")
        seq = self.published_seq
        if seq - self.released_seq >= self.nentries:
            raise LocalError(f"publish on a full ring: all {self.nentries} entries are in use")
        for free in (self.free_small_slots, self.free_slots):
            if free and slot is self.loop_views[free[-1]]:
                break
        else:
            raise LocalError("publish of memory that is not the slot that was claimed last")
        pos = seq % self.nentries
        self.slot_of[pos] = free[-1]
        self.owners[pos] = owner
        self.kinds[pos] = kind
        self.sizes[pos] = nbytes
        del free[-1]  # no call from here on: a signal handler may raise at each
        # ORDER: after the row and the slot's bytes, which this store publishes (I2, I3).
        self.published_seq = seq + 1

    def view(self, seq: int) -> memoryview:
        """Return the worker's view of the chunk of an entry: writable, valid until its release.

        Thread: worker.
        """
        pos = seq % self.nentries
        return self.work_views[self.slot_of[pos]][: self.sizes[pos]]

    def owner(self, seq: int) -> Any:
        """Return the owner of an entry in [released_seq, published_seq).

        Thread: the one that owns it (I2).
        """
        return self.owners[seq % self.nentries]

    def entry(self, seq: int) -> Entry:
        """Return an entry in [released_seq, published_seq) as an object, attached to its row.

        Thread: the one that owns it (I2).
        """
        pos = seq % self.nentries
        report = self.reports[pos]
        if report is not None:
            return report
        view = self.work_views[self.slot_of[pos]]
        entry = self._entries[pos]
        if entry is None:
            entry = self._entries[pos] = Entry(view)
        entry.view = view
        entry.owner = self.owners[pos]
        entry.kind = self.kinds[pos]
        entry.nbytes = self.sizes[pos]
        entry.result = self.results[pos]
        # What another lane left there, which had this row before.
        entry.calls = entry.surplus_bytes = 0
        entry.ended = False
        self.reports[pos] = entry
        return entry

    def result(self, seq: int) -> Result:
        """Return the result of a processed entry. Thread: loop. Valid until `release`."""
        pos = seq % self.nentries
        report = self.reports[pos]
        return self.results[pos] if report is None else report.result

    def returned(self, seq: int) -> tuple[Any, Kind, int, Entry | None]:
        """Return a processed entry's owner, kind, bytes processed, and its attached `Entry`.

        Thread: loop. Valid until `release`.
        """
        pos = seq % self.nentries
        report = self.reports[pos]
        if report is None:
            return self.owners[pos], self.kinds[pos], self.sizes[pos], None
        return self.owners[pos], report.kind, report.nbytes, report

    def mark_processed(self, result: Result = None) -> None:
        """Hand the oldest unprocessed entry back to the loop, with `result` or that of its `Entry`.

        Thread: worker.

        Raises:
            LocalError: no entry is waiting for the worker.
        """
        seq = self.processed_seq
        if seq >= self.published_seq:
            raise LocalError(f"nothing to process: all {seq} published entries are done")
        if result is not None:
            self.results[seq % self.nentries] = result
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
        if not nentries:
            return
        start = seq % self.nentries
        stop = start + nentries
        if stop <= self.nentries:
            self._clear(start, stop)
            small = self.slot_of[start:stop]
        else:
            self._clear(start, self.nentries)
            self._clear(0, stop - self.nentries)
            small = self.slot_of[start:] + self.slot_of[: stop - self.nentries]
        large: list[int] = []
        if max(small) >= self.nentries:
            large = [number for number in small if number >= self.nentries]
            small = [number for number in small if number < self.nentries]
        if self.delivered_seq < seq + nentries:
            self.delivered_seq = seq + nentries
        # No call from here on, where a signal handler may raise: each slot is freed once.
        self.free_small_slots += small
        self.free_slots += large
        # ORDER: after the results are dropped; this store gives lent blocks back (I18).
        self.released_seq = seq + nentries

    def _clear(self, start: int, stop: int) -> None:
        """Empty the rows of a range; may be done twice, after an interrupt."""
        count = stop - start
        self.owners[start:stop] = self.results[start:stop] = self._nones[:count]
        self.kinds[start:stop] = self._data_kinds[:count]
        reports = self.reports[start:stop]
        if any(reports):
            self.reports[start:stop] = self._nones[:count]
            for entry in reports:
                if entry is not None:
                    entry.owner = entry.result = entry.error = None

    def close_input(self) -> None:
        """Close the input: nothing more is published (I4). Thread: the one that stops first."""
        self.input_closed = True

    def close_output(self) -> None:
        """Close the output: no more results come (I4). Thread: worker, or the loop at the end."""
        self.output_closed = True
