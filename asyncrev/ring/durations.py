"""How long things take: the histograms of one plane, counted by batches.

Theory of operation. The loop's thread reads the clock when a poll returns, and when a delivery has
released its entries; so it knows the time of each entry without a look at it: a *mark* says up to
which sequence number entries were received in one iteration, and when that began. What is released
is counted mark by mark. The worker reads it before and after what it answers. Nothing is counted
before `measure` is called.

The native plane does the same; a test compares the two.
"""

import collections
import time
from collections.abc import Callable

from asyncrev.ring.ring import Ring

__all__ = ["BOUNDS_S", "BUCKETS", "NAMES", "Counts", "Durations", "bucket_of"]

# In the order of `Durations.counts`.
NAMES = ("loop_turn_s", "processing_s", "reply_latency_s")

BUCKETS = 24  # the last one is of what exceeds all bounds
BOUNDS_S = tuple((2 << power) / 1e6 for power in range(BUCKETS - 1))  # 2 us to 8.4 s

Counts = tuple[list[int], int]  # by bucket, and the sum in nanoseconds


def bucket_of(duration_ns: int) -> int:
    """Return the index of the bucket of a duration, which is at most the bound of that index."""
    return min(max(((duration_ns - 1) // 1000).bit_length() - 1, 0), BUCKETS - 1)


class _Histogram:
    """Counts of one thread; read by the loop, which may see them late."""

    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.sum_ns = 0

    def add(self, duration_ns: int, times: int) -> None:
        """Count `times` durations of that length."""
        duration_ns = max(duration_ns, 0)
        self.counts[bucket_of(duration_ns)] += times
        self.sum_ns += duration_ns * times

    def read(self) -> Counts:
        """Return a copy."""
        return self.counts.copy(), self.sum_ns


class Durations:
    """Three histograms; see `NAMES`. Thread: loop, but for those of the worker.

    A turn of the loop is from the return of a poll to the next one. What a reply takes is from the
    return of the poll that has reported its input, or on a loop without iteration hooks from the
    flush, until its entry is released, because its reply was given to the transport. Entries
    without a reply count as well.
    """

    __slots__ = (
        "_awake_ns",
        "_clock_ns",
        "_counted_seq",
        "_loop_turn",
        "_marked_seq",
        "_marks",
        "_processing",
        "_reply",
        "_ring",
        "_worked_ns",
    )

    def __init__(self, ring: Ring, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Count what is published in `ring` from now on."""
        self._ring = ring
        self._clock_ns = clock_ns
        self._awake_ns = 0  # when the last poll returned; 0 while the loop polls, or if unknown
        self._marks: collections.deque[tuple[int, int]] = collections.deque()  # (end_seq, at_ns)
        self._marked_seq = self._counted_seq = ring.published_seq
        self._loop_turn = _Histogram()
        self._reply = _Histogram()
        self._processing = _Histogram()  # writer: worker
        self._worked_ns = 0  # writer and reader: worker

    def note_awake(self) -> None:
        """A poll has returned; what is noted already stays."""
        if not self._awake_ns:
            self._awake_ns = self._clock_ns()

    def note_poll(self) -> None:
        """The loop is about to poll."""
        if self._awake_ns:
            self._loop_turn.add(self._clock_ns() - self._awake_ns, 1)
            self._awake_ns = 0

    def note_published(self) -> None:
        """Entries have been published since the last call."""
        published_seq = self._ring.published_seq
        if published_seq > self._marked_seq:
            self._marked_seq = published_seq
            self._marks.append((published_seq, self._awake_ns or self._clock_ns()))

    def note_released(self) -> None:
        """Entries have been released since the last call."""
        released_seq, marks = self._ring.released_seq, self._marks
        if not marks or released_seq <= self._counted_seq:
            return
        now_ns = self._clock_ns()
        while marks and self._counted_seq < released_seq:
            end_seq, at_ns = marks[0]
            until_seq = min(end_seq, released_seq)
            self._reply.add(now_ns - at_ns, until_seq - self._counted_seq)
            self._counted_seq = until_seq
            if until_seq == end_seq:
                marks.popleft()

    def note_taken(self) -> None:
        """The worker begins with entries. Thread: worker."""
        self._worked_ns = self._clock_ns()

    def note_processed(self) -> None:
        """The worker has answered one more. Thread: worker."""
        now_ns = self._clock_ns()
        self._processing.add(now_ns - self._worked_ns, 1)
        self._worked_ns = now_ns

    def counts(self) -> tuple[Counts, Counts, Counts]:
        """Return the counts of each histogram, in the order of `NAMES`."""
        return self._loop_turn.read(), self._processing.read(), self._reply.read()
