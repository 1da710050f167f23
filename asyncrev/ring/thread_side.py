"""The blocking side of the ring: what the worker thread sees of it."""

from types import TracebackType
from typing import Self

from asyncrev.errors import ChannelClosed, LocalError
from asyncrev.ring.ring import Entry, Ring
from asyncrev.ring.wakeups import DeliverySignal, Parker

__all__ = ["BACKSTOP_S", "ThreadSide"]

# A worker with nothing to do wakes this often all the same. Log4j and the Disruptor ended with
# such a net (github.com/LMAX-Exchange/disruptor/issues/138); 10 ms burnt 28 % of a core in
# Apache Storm, 1 s still 5 %, and `Parker.backstop_wakes` shows that ours catches nothing.
BACKSTOP_S = 5.0


class ThreadSide:
    """Takes entries in order, answers them in order. One thread, the worker, but for `close`.

    `take` and `finish` are the batch interface; `get` and `put` do the same a buffer at a time.
    `with` closes it at the end of the block, however that ends. A ChannelClosed that leaves the
    block is taken for its regular end, if the channel is closed: that is how `get` says that there
    is nothing more.
    """

    __slots__ = ("_parker", "_ring", "_signal", "_taken_seq", "input_is_closed")

    def __init__(self, ring: Ring, parker: Parker, signal: DeliverySignal) -> None:
        self._ring = ring
        self._parker = parker
        self._signal = signal
        self._taken_seq = 0  # processed_seq <= _taken_seq <= published_seq
        self.input_is_closed = False  # whether nothing comes any more, as of the last look

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        is_closed = self._ring.input_closed or self._ring.output_closed
        self.close()
        return is_closed and isinstance(error, ChannelClosed)

    def take(self, timeout_s: float | None = None) -> list[Entry]:
        """Wait for entries and return all that are published and not yet taken, oldest first.

        Returns an empty list after `timeout_s`. Valid until `finish`: an entry and its view.

        Raises:
            ChannelClosed: the input is closed and every entry has been taken.
        """
        ring, first_seq = self._ring, self._taken_seq
        if ring.processed_seq != ring.released_seq:  # else the loop has delivered everything
            self._signal.request()  # ORDER: after the cursor (I6), before any sleep.
        end_seq = self._taken_seq = self._wait_published(timeout_s)
        return ring.entries_between(first_seq, end_seq)

    def finish(self) -> None:
        """Hand the oldest taken entry, its result set, back to the loop.

        A loop that sleeps is asked for a delivery at once, so that a slow processor's first results
        do not wait for its last. The peek may be wrong; `take` asks again under the lock.
        """
        self._ring.mark_processed()
        if not self._signal.awaited:
            self._signal.request()  # ORDER: after the cursor (I6).

    def get(self, timeout_s: float | None = None) -> memoryview:
        """Return the next buffer, writable and valid until the `put` that answers it.

        Buffers can be got ahead of their answers; answers belong to them in order.

        Raises:
            TimeoutError: nothing came in `timeout_s`.
            ChannelClosed: the other side is closed and everything has been taken.
        """
        ring, seq = self._ring, self._taken_seq
        if self._wait_published(timeout_s) == seq:
            raise TimeoutError(f"no buffer in {timeout_s} s")
        self._taken_seq = seq + 1
        entry = ring.entry(seq)
        return entry.view[: entry.nbytes]

    def put(self, result: bytes | bytearray | memoryview | None) -> None:
        """Answer the oldest buffer that is got and not yet answered.

        `result` is copied unless it is bytes or None (no answer).

        Raises:
            LocalError: no buffer is waiting for an answer.
            ChannelClosed: `close` was called.
        """
        ring = self._ring
        if ring.output_closed:
            raise ChannelClosed("put after close: the loop may have seen the end already")
        seq = ring.processed_seq
        if seq >= self._taken_seq:
            raise LocalError("put without a buffer to answer; call get first")
        if result is not None and type(result) is not bytes:
            result = memoryview(result).tobytes()
        ring.entry(seq).result = result
        ring.mark_processed()
        self._signal.request()  # ORDER: after the cursor (I6).

    def close(self) -> None:
        """Say that no answer will come any more. The loop still gets those that were put.

        Thread: any; the loop closes it when it leaves a channel (``Channel.__aexit__``).
        """
        self._ring.close_output()
        self._signal.request()

    def _wait_published(self, timeout_s: float | None) -> int:
        """Wait for an entry that is not taken; return the cursor, still the old after a timeout.

        Raises:
            ChannelClosed: the input is closed and every entry has been taken.
        """
        ring, parker = self._ring, self._parker
        if ring.published_seq == self._taken_seq:
            if timeout_s is None:
                while not parker.park(self._has_work, BACKSTOP_S):
                    pass
            elif timeout_s > 0:
                parker.park(self._has_work, timeout_s)
        # ORDER: the flag before the cursor, because the last publish came before the close.
        closed = self.input_is_closed = ring.input_closed
        published_seq = ring.published_seq
        if closed and published_seq == self._taken_seq:
            raise ChannelClosed("the loop's side is closed and everything has been taken")
        return published_seq

    def _has_work(self) -> bool:
        return self._ring.published_seq != self._taken_seq or self._ring.input_closed
