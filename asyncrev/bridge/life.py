"""A bridge's life: its loop, and the start and the end of its worker."""

import asyncio
import logging

from asyncrev.bridge.parts import Parts, make_parts
from asyncrev.bridge.pending import Pending
from asyncrev.bridge.running_time import running_timeout
from asyncrev.errors import BridgeStopped, LocalError, WorkerDied, WorkerHung
from asyncrev.limits import Limits

__all__ = ["Life"]

logger = logging.getLogger("asyncrev")


class Life:
    """Starts and ends the parts of a bridge. All methods: the loop's thread, unless said.

    Attributes:
        parts: what it starts and ends.
        loop: the bridge's loop, once it is started.
        error: what the worker died of, if it did.
    """

    __slots__ = ("_ended", "error", "loop", "parts")

    def __init__(self, limits: Limits, name: str, pending: Pending | None = None) -> None:
        self.parts: Parts = make_parts(limits, name, self._on_worker_end, pending)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.error: BaseException | None = None
        self._ended: asyncio.Future[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the worker was started and has not ended."""
        return self.loop is not None and not self.has_ended

    @property
    def has_ended(self) -> bool:
        """Whether the worker has ended and its last answers were delivered."""
        return self._ended is not None and self._ended.done()

    @property
    def takes_lanes(self) -> bool:
        """Whether a lane that is opened now will be answered."""
        parts = self.parts
        return self.is_running and not (parts.ring.input_closed or parts.admission.is_closed)

    def start(self) -> None:
        """See `Bridge.start`."""
        loop = asyncio.get_running_loop()
        if self.loop is not None:
            self.check_loop()
            raise LocalError("this bridge was started before; make another one")
        self.loop = loop
        try:
            self.parts.worker.start()
        except BaseException:
            self.loop = None
            raise
        self._ended = loop.create_future()
        self.parts.delivery.loop = loop
        self.parts.side.bind(loop, self.parts.delivery.deliver)

    async def wait_ended(self) -> None:
        """See `Bridge.wait_ended`."""
        if self._ended is not None:
            self.check_loop()
            await asyncio.shield(self._ended)

    async def close(self, timeout_s: float) -> None:
        """See `Bridge.close`."""
        if self._ended is None:
            return
        self.check_loop()
        worker, asked_s = self.parts.worker, timeout_s
        self.parts.admission.close()
        self.parts.plane.is_closed = True
        try:
            async with running_timeout(timeout_s):
                await self.parts.delivery.wait_answered()
        except TimeoutError:
            # The worker does not return, or replies that come later do not come.
            timeout_s = min(timeout_s, 1.0)
        finally:
            self.parts.side.close()
        try:
            async with running_timeout(timeout_s):
                await self.wait_ended()
        except TimeoutError:
            raise WorkerHung(
                f"thread {worker.name!r} did not end in {asked_s} s: a processor does not return"
            ) from None
        worker.join(timeout_s)  # it has said its last word, so this takes microseconds

    def stop(self, timeout_s: float) -> None:
        """See `Bridge.stop`. Thread: any."""
        loop, worker = self.loop, self.parts.worker
        if loop is None:
            return
        try:
            on_loop = asyncio.get_running_loop() is loop
        except RuntimeError:
            on_loop = False
        # Only the loop publishes, so only the loop, while it runs, can say that it has finished.
        if on_loop or not loop.is_running():
            self.parts.side.close()
        else:
            loop.call_soon_threadsafe(self.parts.side.close)
        if not worker.is_this_thread() and not worker.join(timeout_s):
            raise WorkerHung(f"thread {worker.name!r} did not end in {timeout_s} s")

    def check_loop(self) -> None:
        """Refuse a use on another loop, which would never be answered there.

        A worker whose own loop was closed has nobody to answer to, so it is ended.

        Raises:
            LocalError: the running loop is another than the bridge's.
        """
        if self.has_ended or self.loop in (None, asyncio.get_running_loop()):
            return
        assert self.loop is not None
        if self.loop.is_closed():
            self.parts.side.close()
            raise LocalError(
                "the loop of this bridge was closed; make a bridge on each loop, and close it "
                "there: async with Bridge()"
            )
        raise LocalError(
            "this bridge was started on another loop, which is still open; make one on each "
            "loop, and end one from elsewhere with stop()"
        )

    def _on_worker_end(self, error: BaseException | None) -> None:
        # Thread: worker, as the last thing that it does.
        assert self.loop is not None
        for lane in self.parts.lanes.copy():
            try:
                lane.work.close_processor()
            except BaseException:  # SystemExit, too: the end is announced in any case
                logger.exception("a processor's close() failed while its bridge ended")
        try:
            self.loop.call_soon_threadsafe(self._worker_ended, error)
        except RuntimeError:
            ring = self.parts.ring
            unanswered = ring.published_seq - ring.released_seq
            if unanswered:
                logger.error(
                    "the event loop was closed under a bridge with %d unanswered entries; "
                    "close the bridge first",
                    unanswered,
                )

    def _worker_ended(self, error: BaseException | None) -> None:
        parts = self.parts
        parts.delivery.deliver_all()
        assert self._ended is not None
        if not self._ended.done():
            self._ended.set_result(None)
        parts.side.unbind()
        parts.side.close()
        parts.sweep.stop()
        told: BaseException = BridgeStopped("the bridge was stopped while this was open")
        if error is not None:
            self.error = told = WorkerDied(f"the worker thread died of {error!r}")
            told.__cause__ = error
            message = "the worker thread of a bridge died; its connections are closed"
            parts.delivery.report(message, told)
        parts.admission.forget_waiters()
        for lane in list(parts.lanes):
            sink, lane.sink = lane.sink, None
            if lane.pending is not None:
                lane.pending.close()
            if sink is not None:
                parts.delivery.tell(lane, sink.on_error, told)
        parts.lanes.clear()
