"""The bridge: lanes of many connections over one ring, one worker thread behind it.

Theory of operation. A lane claims a slot, fills it, publishes it; the worker answers in order;
a drain, on the loop, gives every answer to its lane's sink and releases the slot. Who may publish
when is the business of `admission`, what a drain does that of `delivery`; here are the bridge's
life and the beginning and end of lanes.
"""

import asyncio
import contextvars
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from asyncrev.admission import Admission
from asyncrev.buffers import byte_view
from asyncrev.delivery import Delivery
from asyncrev.errors import BridgeStopped, LocalError, SettingsError, WorkerDied, WorkerHung
from asyncrev.frames.grammar import Grammar
from asyncrev.lane import Lane, Sink
from asyncrev.limits import Limits
from asyncrev.loop_face import LoopFace
from asyncrev.pool import Pool
from asyncrev.processors import ProcessorFactory, as_factory
from asyncrev.reverse import Reverse
from asyncrev.ring import Ring
from asyncrev.running_time import running_timeout
from asyncrev.statistics import BridgeStatistics, PoolStatistics
from asyncrev.submission import InContext, Submission
from asyncrev.sweep import Sweep
from asyncrev.thread_face import ThreadFace
from asyncrev.wakeups import Parker
from asyncrev.worker import Worker

__all__ = ["Bridge"]

logger = logging.getLogger("asyncrev")


class Bridge:
    """One ring and one worker thread, for any number of connections of one loop.

    Made anywhere, started on a running loop: `async with Bridge() as bridge: ...`. All methods
    belong to the loop's thread, except `stop`.
    """

    def __init__(self, limits: Limits | None = None, *, name: str = "asyncrev-worker") -> None:
        self.limits = limits if limits is not None else Limits()
        self._ring = Ring(self.limits.slots, self.limits.slot_bytes, self.limits.entries)
        self._parker = Parker()
        self._face = LoopFace(self._ring, self._parker)
        thread_face = ThreadFace(self._ring, self._parker, self._face.signal)
        self._pool = Pool(self._ring, self.limits.pool_bytes)
        self._worker = Worker(
            thread_face, self._ring.storage, self._pool, self._on_worker_end, name=name
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self.admission = Admission(self._ring, self._face, self.limits)
        self._delivery = Delivery(self._ring, self.admission)
        self._lanes = self._delivery.lanes
        self._sweep = Sweep(self._lanes, self._look, self.limits.shortest_deadline_s)
        self._inlined = 0

    # -- life ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def start(self) -> None:
        """Bind to the running loop and start the worker.

        Raises:
            LocalError: it was started before; a bridge serves one loop, once.
            RuntimeError: no loop is running in this thread, or the system gives no thread.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not None:
            self._check_loop()
            raise LocalError("this bridge was started before; make another one")
        self._loop = loop
        try:
            self._worker.start()
        except BaseException:
            self._loop = None
            raise
        self._ended = loop.create_future()
        self._delivery.loop = loop
        self._face.bind(loop, self._delivery.drain)

    @property
    def is_running(self) -> bool:
        """Whether lanes can be opened and answered."""
        return self._loop is not None and self._running_ended() is False

    @property
    def open_lanes(self) -> int:
        """How many lanes are open, or on their way to their close."""
        return len(self._lanes)

    @property
    def error(self) -> BaseException | None:
        """What the worker died of, if it did."""
        return self._error

    async def wait_ended(self) -> None:
        """Wait until the worker has ended and its last answers were given out.

        Raises:
            LocalError: this is another loop than the bridge's.
        """
        if self._ended is not None:
            self._check_loop()
            await asyncio.shield(self._ended)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Let the worker answer what is published, then end it and its thread. Idempotent.

        What is published from now on is dropped. Lanes still open are told BridgeStopped; so what
        the worker has deferred of a lane whose peer does not take its replies stays unanswered.
        Thread: loop.

        Raises:
            LocalError: this is another loop than the bridge's; `stop` works from anywhere.
            WorkerHung: a processor did not return in `timeout_s`; its thread lives on.
        """
        if self._ended is None:
            return
        self._check_loop()
        try:
            async with running_timeout(timeout_s):
                try:
                    self.admission.close()
                    await self._delivery.wait_answered()
                finally:
                    self._face.close()
                await self.wait_ended()
        except TimeoutError:
            raise WorkerHung(
                f"thread {self._worker.name!r} did not end in {timeout_s} s: "
                "a processor does not return"
            ) from None
        self._worker.join(timeout_s)  # it has said its last word, so this takes microseconds

    def stop(self, timeout_s: float = 5.0) -> None:
        """Do what `close` does, blocking. Thread: any, the worker itself included. Idempotent.

        Of what has been published, input that the worker has deferred stays unanswered.
        On the worker's thread it asks for the end and does not wait for it.

        Raises:
            WorkerHung: the worker did not end in `timeout_s`.
        """
        loop = self._loop
        if loop is None:
            return
        try:
            on_loop = asyncio.get_running_loop() is loop
        except RuntimeError:
            on_loop = False
        # Only the loop publishes, so only the loop, while it runs, can say that it has finished.
        if on_loop or not loop.is_running():
            self._face.close()
        else:
            loop.call_soon_threadsafe(self._face.close)
        if not self._worker.is_this_thread() and not self._worker.join(timeout_s):
            raise WorkerHung(f"thread {self._worker.name!r} did not end in {timeout_s} s")

    # -- lanes -----------------------------------------------------------------------------

    def open(
        self,
        sink: Sink,
        factory: ProcessorFactory,
        *,
        views_allowed: bool,
        framing: Grammar | None = None,
        max_frame_bytes: int | None = None,
        max_reply_bytes: int | None = None,
    ) -> Lane:
        """Return a new lane whose replies go to `sink`.

        With `views_allowed` a reply may be a view, valid until `on_reply` returns; without it
        replies are bytes. With `framing` the processor gets a frame at a time, of at most
        `max_frame_bytes`; a reply may have `max_reply_bytes`; both by default as in `limits`.

        Raises:
            BridgeStopped: the bridge does not run.
            LocalError: this is another loop than the bridge's.
            SettingsError: its pool has no room for frames of `max_frame_bytes`.
        """
        if (
            self._loop is None
            or self._ring.input_closed
            or self.admission.is_closed
            or self._running_ended()
        ):
            raise BridgeStopped(
                "the bridge was never started" if self._loop is None else "the bridge is stopped"
            )
        self._check_loop()
        if max_frame_bytes is None:
            max_frame_bytes = self.limits.max_frame_bytes
        elif framing is not None:
            self.check_frame_limit(max_frame_bytes)
        lane = Lane(
            sink,
            factory,
            views_allowed=views_allowed,
            framing=framing,
            max_frame_bytes=max_frame_bytes,
            max_reply_bytes=self.limits.max_reply_bytes
            if max_reply_bytes is None
            else max_reply_bytes,
            window_bytes=self.limits.window_bytes,
        )
        self._lanes.add(lane)
        self._sweep.start(self._loop)
        return lane

    def submit(
        self, data: bytes | bytearray | memoryview, processor: Any = Reverse
    ) -> Coroutine[Any, Any, bytes]:
        """Have `data` worked on by a processor of its own; return all that it answers.

        The processor gets `data` in chunks of at most a slot, then `eof()`. Submissions are begun
        and answered in the order of their calls, as far as each fits the lane's quota; those that
        are longer take turns. It waits while the ring has no slot, or its quota is used up, so as
        many bytes as there are callers wait with them. Cancelling gives the rest up: what the
        worker has not begun is not processed, and no reply comes.

        The processor is made and called in a copy of the caller's context variables, as they are
        at the call.

        Thread: any but the worker, to be awaited on the loop: elsewhere by
        `asyncio.run_coroutine_threadsafe(bridge.submit(...), loop)`. A processor of this bridge
        must not wait for a submission to it, because the worker that would answer it waits. `data`
        is copied chunk by chunk; do not change it meanwhile.

        Raises:
            BridgeStopped: the bridge does not run, or was stopped before the end.
            LocalError: this is another loop than the bridge's; or, at once, the caller is a
                processor of this bridge, on its worker's thread.
            SettingsError: `processor` cannot be used as one.
            WorkerDied: asyncrev's worker failed.
            Exception: whatever the processor raises; SystemExit and the like come as
                ProcessorError.
        """
        if self._worker.is_this_thread():
            raise LocalError(
                "submit was called by a processor of the same bridge, whose worker would wait for "
                "itself; call the work directly, or give it to another bridge"
            )
        return self._submit(data, processor, contextvars.copy_context())

    async def _submit(
        self,
        data: bytes | bytearray | memoryview,
        processor: Any,
        context: contextvars.Context,
    ) -> bytes:
        factory = as_factory(processor)
        view = byte_view(data)
        self._check_loop()
        submission = Submission()
        lane = self.open(submission, lambda: InContext(factory, context), views_allowed=True)
        try:
            return await submission.run(self.admission, lane, view)
        finally:
            self.close_lane(lane)

    def work_inline(self, lane: Lane, nbytes: int) -> bool:
        """Have the first `nbytes` of the claimed view answered at once; return whether they were.

        Instead of publishing them, for a raw lane with nothing in flight and a processor that may
        run inline.
        """
        sink = lane.sink
        if sink is None or lane.abandoned:
            return False
        self._inlined += 1
        lane.look_at_s = 0.0
        try:
            reply = lane.work_inline(self.admission.claimed(nbytes), self._ring.storage)
        except BaseException as error:
            self._delivery.fail(lane, error)
            self._delivery.pass_on_interrupt(error)
        else:
            if reply:
                self._delivery.tell(lane, sink.on_reply, reply)
        return True

    def check_frame_limit(self, max_frame_bytes: int) -> None:
        """Check that this bridge takes frames of `max_frame_bytes`.

        Raises:
            SettingsError: its own limit is lower, so its pool may have no room for them.
        """
        if max_frame_bytes > self.limits.max_frame_bytes:
            raise SettingsError(
                f"max_frame_bytes is {max_frame_bytes}; the limits of this bridge allow "
                f"{self.limits.max_frame_bytes}"
            )

    def close_lane(self, lane: Lane) -> None:
        """Give `lane` up: its sink is called no more, its unprocessed input is not processed."""
        if lane.sink is None:
            return
        lane.sink = None
        lane.abandoned = True
        if self._running_ended():
            self._lanes.discard(lane)
        else:
            self.admission.publish_close(lane)

    def set_excess(self, lane: Lane, excess_bytes: int) -> None:
        """Note that the unsent replies of a framed lane are that far above its high water.

        They count against the pool, as the frames did that they answer.
        """
        credit = self.admission.set_excess(lane, excess_bytes)
        if credit and lane.sink is not None:
            self._delivery.tell(lane, lane.sink.on_credit)
        if self.admission.budget.waiting_lanes and self._loop is not None:
            self._loop.call_soon(self._delivery.serve_waiters)

    def set_stalled(self, lane: Lane, is_stalled: bool) -> None:
        """Note whether the peer of `lane` takes its replies; if not, no more than a window comes.

        What the worker defers of a stalled lane goes on when it is stalled no more.
        """
        if is_stalled:
            lane.window.stall()
        else:
            lane.window.go_on()
            if not self._running_ended():
                self.admission.resume(lane)

    def statistics(self) -> BridgeStatistics:
        """Return the counters as they are now. Thread: any; other than on the loop, not exact."""
        ring, worker, budget = self._ring, self._worker, self.admission.budget
        return BridgeStatistics(
            published=ring.published_seq,
            processed=ring.processed_seq,
            released=ring.released_seq,
            entries_in_use_high=self._delivery.entries_in_use_high,
            lanes=len(self._lanes),
            waiting_lanes=self.admission.waiting_lanes,
            pool=PoolStatistics(
                in_use_bytes=self._pool.in_use_bytes,
                in_use_high_bytes=self._pool.in_use_high_bytes,
                kept_bytes=self._pool.kept_bytes,
                allocations=self._pool.allocations,
                leases=self._pool.leases,
                reclaimed=self._pool.reclaimed,
                reserved_bytes=budget.reserved_bytes,
                reserved_high_bytes=budget.reserved_high_bytes,
                refused=budget.refusals,
                waiting_lanes=budget.waiting_lanes,
            ),
            spills=self.admission.spills,
            worker_batches=worker.batches,
            worker_largest_batch=worker.largest_batch,
            worker_wakes=self._parker.unparks,
            loop_drains=self._face.drains,
            loop_wakes=self._face.signal.requests,
            backstop_wakes=self._parker.backstop_wakes,
            processor_errors=self._delivery.processor_errors,
            inlined=self._inlined,
        )

    # -- ends ------------------------------------------------------------------------------

    def _check_loop(self) -> None:
        """Refuse a use on another loop, which would never be answered there.

        A worker whose own loop was closed has nobody to answer to, so it is ended.
        """
        if self._running_ended() or self._loop in (None, asyncio.get_running_loop()):
            return
        assert self._loop is not None
        if self._loop.is_closed():
            self._face.close()
            raise LocalError(
                "the loop of this bridge was closed; make a bridge on each loop, and close it "
                "there: async with Bridge()"
            )
        raise LocalError(
            "this bridge was started on another loop, which is still open; make one on each "
            "loop, and end one from elsewhere with stop()"
        )

    def _running_ended(self) -> bool:
        return self._ended is not None and self._ended.done()

    def _on_worker_end(self, error: BaseException | None) -> None:
        # Thread: worker, as the last thing that it does. The loop may still take lanes out, and
        # only `copy` holds the set's own lock on a free-threaded build; `tuple` iterates.
        assert self._loop is not None
        for lane in self._lanes.copy():
            try:
                lane.close_processor()
            except BaseException:  # SystemExit, too: the end is announced in any case
                logger.exception("a processor's close() failed while its bridge ended")
        try:
            self._loop.call_soon_threadsafe(self._worker_ended, error)
        except RuntimeError:
            unanswered = self._ring.published_seq - self._ring.released_seq
            if unanswered:
                logger.error(
                    "the event loop was closed under a bridge with %d unanswered entries; "
                    "close the bridge first",
                    unanswered,
                )

    def _worker_ended(self, error: BaseException | None) -> None:
        self._delivery.drain_all()
        assert self._ended is not None
        if not self._ended.done():
            self._ended.set_result(None)
        self._face.unbind()
        self._face.close()
        self._sweep.stop()
        told: BaseException = BridgeStopped("the bridge was stopped while this was open")
        if error is not None:
            self._error = told = WorkerDied(f"the worker thread died of {error!r}")
            told.__cause__ = error
            message = "the worker thread of a bridge died; its connections are closed"
            self._delivery.report(message, told)
        self.admission.forget_waiters()
        for lane in list(self._lanes):
            sink, lane.sink = lane.sink, None
            if sink is not None:
                self._delivery.tell(lane, sink.on_error, told)
        self._lanes.clear()

    def _look(self, lane: Lane, now_s: float) -> None:
        if lane.sink is not None:
            self._delivery.tell(lane, lane.sink.on_sweep, now_s)
