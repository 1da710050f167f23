"""The loop's side of the ring. It never blocks, wakes once per iteration, delivers in batches."""

import asyncio
from collections.abc import Callable
from typing import Any

from asyncrev.errors import LocalError
from asyncrev.ring.planes import DeliverySignal, Plane
from asyncrev.ring.ring import Ring
from asyncrev.ring.wakeups import Parker

__all__ = ["LoopSide"]


class LoopSide:
    """Flushes what was published, and delivers results. Thread: loop, unless stated.

    It is created without a loop and bound to one later. On a loop with iteration hooks (ours) it
    flushes and delivers at the end of every iteration, and the worker wakes the loop only if it
    sleeps. On other loops one `call_soon` flushes everything that an iteration publishes, and one
    `call_soon_threadsafe` requests a delivery.
    """

    __slots__ = (
        "_flushed_seq",
        "_loop",
        "_on_results",
        "_parker",
        "_ring",
        "_wake_loop",
        "deliveries",
        "flush_is_due",
        "measured",
        "poll",
        "signal",
    )

    def __init__(self, ring: Ring, parker: Parker) -> None:
        self._ring = ring
        self._parker = parker
        self.signal = DeliverySignal(self._post_delivery)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake_loop: Callable[[], object] | None = None
        self._on_results: Callable[[], bool] = _no_results
        self._flushed_seq = 0
        # Whether a flush is scheduled already; with iteration hooks always, so this stays True.
        self.flush_is_due = True
        self.deliveries = 0
        # The plane whose durations are measured, if they are.
        self.measured: Plane | None = None
        # Polls in the place of a loop with hooks (`EpollEventLoop.add_iteration_hook`); written
        # before `bind`.
        self.poll: Callable[[int, int, float], list[tuple[int, int]] | None] | None = None

    def bind(self, loop: asyncio.AbstractEventLoop, on_results: Callable[[], bool]) -> None:
        """Use `loop` from now on, and call `on_results` there when there are results.

        `on_results` returns whether it left results for the next iteration, which then begins
        without waiting. It is also called when the worker's side has been closed.

        Raises:
            LocalError: this side is bound already.
        """
        if self._loop is not None:
            raise LocalError("this side is bound to a loop already; make another for another loop")
        self._on_results = on_results
        self._loop = loop
        hooked: Any = loop
        if hasattr(loop, "add_iteration_hook"):
            hooked.add_iteration_hook(self)
            self._wake_loop = hooked.wake
            self.signal.wake_by(hooked.wake_fd)
        else:
            self.flush_is_due = False
            self._wake_loop = self._call_delivery_soon
        # Both threads may have used the ring before; this handles requests made without a loop.
        loop.call_soon(self._flush_and_deliver)

    def unbind(self) -> None:
        """Release the loop; nothing is called there any more."""
        hooked: Any = self._loop
        if hasattr(hooked, "remove_iteration_hook"):
            hooked.remove_iteration_hook(self)
        self.signal.wake_by(-1)
        self._wake_loop = None  # so that the worker's side may be used after the loop is closed
        self.flush_is_due = True
        self._on_results = _no_results

    def flush_soon(self) -> None:
        """Flush in the next iteration. Call it after a publish while `flush_is_due` is False."""
        if not self.flush_is_due:
            self.flush_is_due = True
            assert self._loop is not None
            self._loop.call_soon(self._flush_due)

    def flush(self) -> None:
        """Wake the worker if it sleeps and entries were published since the last flush."""
        published_seq = self._ring.published_seq
        if published_seq != self._flushed_seq:
            if self.measured is not None:
                self.measured.note_published()
            self._parker.unpark()  # ORDER: after the cursor (I5).
            self._flushed_seq = published_seq  # last: what interrupts this is followed by another

    def close(self) -> None:
        """Close the input: nothing will be published any more. Wake the worker."""
        self._ring.close_input()
        self._parker.unpark()

    # -- iteration hooks (`EpollEventLoop.add_iteration_hook`) -------------------------------------

    def before_poll(self) -> bool:
        """Flush and deliver; return whether the next iteration must come at once."""
        # First, while a delivery still counts as due: a worker on the same core runs at once, and
        # what it finishes before we go on is delivered here, without a wake-up.
        ring, more = self._ring, False
        if ring.published_seq != self._flushed_seq:
            self.flush()
        self.signal.clear()  # ORDER: before the worker's cursor is read (I6).
        if ring.processed_seq != ring.released_seq or ring.output_closed:
            self.deliveries += 1
            more = self._on_results()
            if ring.published_seq != self._flushed_seq:
                self.flush()  # a delivery may publish input that waited for a slot
            if self.measured is not None:
                self.measured.note_released()
        if self.measured is not None:
            self.measured.note_poll()
        return more

    def after_poll(self) -> None:
        """Note that the loop is awake and will deliver at the end of this iteration."""
        self.signal.hold()
        if self.measured is not None:
            self.measured.note_awake()

    # -- without iteration hooks -----------------------------------------------------------------

    def _flush_due(self) -> None:
        self.flush_is_due = False
        self.flush()

    def _flush_and_deliver(self) -> None:
        self.flush()
        self._deliver()

    def _post_delivery(self) -> None:
        # Thread: worker.
        wake_loop, loop = self._wake_loop, self._loop
        if wake_loop is None or loop is None:
            return  # `bind` delivers for us
        try:
            wake_loop()
        except (RuntimeError, OSError, AttributeError):  # a closed selector loop has no selector
            if not loop.is_closed():
                raise
            raise LocalError("the event loop was closed before the ring's other side") from None

    def _call_delivery_soon(self) -> None:
        # Thread: worker.
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self.signal.clear()  # ORDER: before the worker's cursor is read (I6).
        self.deliveries += 1
        if self._on_results():  # a delivery is bounded (I11); the next iteration continues
            assert self._loop is not None
            self._loop.call_soon(self._deliver)
        if self.measured is not None:
            self.measured.note_released()


def _no_results() -> bool:
    """Replace the consumer before `bind` and after `unbind`."""
    return False
