"""The blocking side of the ring, for the worker's thread."""

from types import TracebackType
from typing import Self

from asyncrev.errors import ChannelClosed, LocalError
from asyncrev.ring.plane import Plane, wait_published
from asyncrev.ring.ring import Entry, Ring
from asyncrev.ring.wakeups import DeliverySignal, Parker

__all__ = ["ThreadSide"]


class ThreadSide:
    """Takes entries and answers them, in order. Thread: worker, except for `close`.

    `take` and `finish` are the interface for batches; `get` and `put` do the same for one buffer at
    a time. A `with` statement closes this side at the end of the block, even after an exception. It
    suppresses ChannelClosed if the channel is closed, because `get` raises that when there is
    nothing more.
    """

    __slots__ = ("_parker", "_plane", "_ring", "_signal", "_taken_seq", "input_is_closed")

    def __init__(
        self, ring: Ring, parker: Parker, signal: DeliverySignal, plane: Plane | None = None
    ) -> None:
        """Take from `ring`; `answer` needs a `plane` of it."""
        self._ring = ring
        self._plane = plane
        self._parker = parker
        self._signal = signal
        self._taken_seq = 0  # processed_seq <= _taken_seq <= published_seq
        self.input_is_closed = False  # whether no more input will come, as of the last check

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

    def take(self, timeout_s: float | None = None, *, stays: bool = False) -> range:
        """Wait for entries; return the sequence numbers of all that are published and not taken.

        Returns an empty range after `timeout_s`. With a plane, entries that need no Python may be
        answered meanwhile, which ends the wait unless it `stays`; see `Plane.wait`.

        Raises:
            ChannelClosed: the input is closed and every entry has been taken.
        """
        ring, plane, first_seq = self._ring, self._plane, self._taken_seq
        if plane is None:
            if ring.processed_seq != ring.released_seq:
                self._signal.request()  # ORDER: after the cursor (I6), before any sleep.
            self._taken_seq = self._wait_published(timeout_s)
        else:
            end_seq, self.input_is_closed = plane.wait(
                first_seq, self._parker, self._signal, _limit_s(timeout_s), stays
            )
            first_seq = max(first_seq, ring.processed_seq)
            self._check_open(first_seq, end_seq)
            self._taken_seq = end_seq
        return range(first_seq, self._taken_seq)

    def answer(self, end_seq: int, pool: object, share: object) -> None:
        """Have all taken entries below `end_seq` answered, and hand each back; see `Plane.answer`.

        Raises:
            LocalError: this side was made without a plane.
        """
        if self._plane is None:
            raise LocalError("this side of the ring has no plane; take entries, and finish each")
        self._plane.answer(end_seq, self._signal, pool, share)

    def oldest(self) -> Entry:
        """Return the oldest taken entry that is not handed back; valid until `finish`."""
        ring = self._ring
        return ring.entry(ring.processed_seq)

    def finish(self) -> None:
        """Hand the oldest taken entry, with its result, back to the loop.

        A delivery is requested at once if the loop sleeps, so that a slow processor's first results
        do not wait for its last. The check without a lock may be wrong; `take` repeats it under it.
        """
        self._ring.mark_processed()
        if not self._signal.awaited:
            self._signal.request()  # ORDER: after the cursor (I6).

    def get(self, timeout_s: float | None = None) -> memoryview:
        """Return the next buffer, writable and valid until the `put` that answers it.

        Several buffers can be got before the first is answered; answers are matched in order.

        Raises:
            TimeoutError: nothing came in `timeout_s`.
            ChannelClosed: the other side is closed and everything has been taken.
        """
        ring, seq = self._ring, self._taken_seq
        if self._wait_published(timeout_s) == seq:
            raise TimeoutError(f"no buffer in {timeout_s} s")
        self._taken_seq = seq + 1
        return ring.view(seq)

    def put(self, result: bytes | bytearray | memoryview | None) -> None:
        """Answer the oldest buffer that was got and not yet answered.

        `result` is copied unless it is bytes or None (no answer).

        Raises:
            LocalError: no buffer waits for an answer.
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
        ring.mark_processed(result)
        self._signal.request()  # ORDER: after the cursor (I6).

    def close(self) -> None:
        """Close this side: nothing can be put any more. The loop still gets what was put.

        Thread: any; the loop calls it when it leaves a channel (``Channel.__aexit__``).
        """
        self._ring.close_output()
        self._signal.request()

    def _wait_published(self, timeout_s: float | None) -> int:
        """Wait for an entry that is not taken; return `published_seq`, unchanged after a timeout.

        Raises:
            ChannelClosed: the input is closed and every entry has been taken.
        """
        taken_seq = self._taken_seq
        end_seq, self.input_is_closed = wait_published(
            self._ring, self._parker, taken_seq, _limit_s(timeout_s)
        )
        self._check_open(taken_seq, end_seq)
        return end_seq

    def _check_open(self, taken_seq: int, end_seq: int) -> None:
        if self.input_is_closed and taken_seq == end_seq:
            raise ChannelClosed("the loop's side is closed and everything has been taken")


def _limit_s(timeout_s: float | None) -> float:
    """Return a timeout as the plane has it: below 0 there is none."""
    return -1.0 if timeout_s is None else timeout_s
