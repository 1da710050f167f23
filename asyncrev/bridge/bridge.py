"""The bridge: lanes of many connections over one ring, one worker thread behind it.

Theory of operation. A lane claims a slot, fills it, publishes it; the worker answers in order;
a delivery, on the loop, gives every reply to its lane's sink and releases the slot. Who may publish
when is decided by `admission`, deliveries are in `delivery`, start and end in `life`. This is the
one door to all of them.
"""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, Self

from asyncrev.bridge.direct import DirectStreams
from asyncrev.bridge.engine import Engine
from asyncrev.bridge.lane import Lane
from asyncrev.bridge.lane_pending import LanePending
from asyncrev.bridge.life import Life
from asyncrev.bridge.parts import Parts, counters_of
from asyncrev.bridge.pending import Pending
from asyncrev.bridge.sink import Sink
from asyncrev.bridge.submission import InContext, Submission
from asyncrev.buffers import byte_view
from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import BridgeStopped, LocalError, SettingsError
from asyncrev.frames.grammar import Grammar
from asyncrev.limits import Limits
from asyncrev.processors import ProcessorFactory, as_factory, declares
from asyncrev.statistics import BridgeStatistics, PendingStatistics
from asyncrev.work.make_work import make_work
from asyncrev.work.request_frames import Collector
from asyncrev.work.requests import Requests
from asyncrev.work.reverse import Reverse
from asyncrev.work.tls_parameters import TlsParameters

__all__ = ["Bridge"]


class Bridge:
    """One ring and one worker thread, for any number of connections of one loop.

    Made anywhere, started on a running loop: `async with Bridge() as bridge: ...`. All methods
    belong to the loop's thread, except `stop`.

    A sink publishes input in two steps, which cost no call more than the work itself, because they
    are methods of `Admission`: `claim(lane)` returns where the next input goes, `publish(lane,
    nbytes)` hands the first bytes of it on and returns whether the lane may go on at once.
    `publish_eof(lane)` ends the input; `claimed(nbytes)` looks at what is not published yet;
    `ask_credit(lane)` has the sink hear when the next input has come back.

    Attributes:
        limits: its settings.
        parts: the objects behind it, for tests and tools; no stable interface.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        name: str = "asyncrev-worker",
        pending: Pending | None = None,
    ) -> None:
        """Make its parts. `pending`: requests whose replies come later, if it shares them."""
        self.limits = limits if limits is not None else Limits()
        self._life = Life(self.limits, name, pending)
        self.parts: Parts = self._life.parts
        self._delivery = self.parts.delivery
        admission = self._admission = self.parts.admission
        self.claim = admission.claim
        self.claimed = admission.claimed
        self.publish = admission.publish
        self.publish_eof = admission.publish_eof
        self.publish_start = admission.publish_start
        self.ask_credit = admission.ask_credit

    # -- life ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def start(self) -> None:
        """Bind to the running loop and start the worker.

        Raises:
            LocalError: it was started before; a bridge serves one loop, once.
            RuntimeError: no loop is running in this thread, or the system gives no thread.
        """
        self._life.start()

    @property
    def is_running(self) -> bool:
        """Whether lanes can be opened and answered."""
        return self._life.is_running

    @property
    def open_lanes(self) -> int:
        """How many lanes are open, or on their way to their close."""
        return len(self.parts.lanes)

    @property
    def error(self) -> BaseException | None:
        """What the worker died of, if it did."""
        return self._life.error

    async def wait_ended(self) -> None:
        """Wait until the worker has ended and its last answers were given out.

        Raises:
            LocalError: this is another loop than the bridge's.
        """
        await self._life.wait_ended()

    async def close(self, timeout_s: float = 5.0) -> None:
        """Let the worker answer what is published, then end it and its thread. Idempotent.

        What is published from now on is dropped. Lanes still open are told BridgeStopped; so what
        the worker has deferred of a lane whose peer does not take its replies stays unanswered.
        Thread: loop.

        Raises:
            LocalError: this is another loop than the bridge's; `stop` works from anywhere.
            WorkerHung: a processor did not return in `timeout_s`; its thread lives on.
        """
        await self._life.close(timeout_s)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Do what `close` does, blocking. Thread: any, the worker itself included. Idempotent.

        Of what has been published, input that the worker has deferred stays unanswered.
        On the worker's thread it asks for the end and does not wait for it.

        Raises:
            WorkerHung: the worker did not end in `timeout_s`.
        """
        self._life.stop(timeout_s)

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
        tls: TlsParameters | None = None,
        info: ConnectionInfo | None = None,
        engine: Engine | None = None,
    ) -> Lane:
        """Return a new lane whose replies go to `sink`.

        With `views_allowed` a reply may be a view, valid until `on_reply` returns; without it
        replies are bytes. With `framing` the processor gets a frame at a time, of at most
        `max_frame_bytes`; a reply may have `max_reply_bytes`; both by default as in `limits`.
        With `tls` input and replies are ciphertext; a client's lane begins with `publish_start`.
        `info`: who the peer is; the processor's `connected` is called with it. With `engine` that
        answers, later, and `factory` only says what the processor is.

        Raises:
            BridgeStopped: the bridge does not run.
            LocalError: this is another loop than the bridge's.
            SettingsError: its pool has no room for frames of `max_frame_bytes`.
        """
        if not self._life.takes_lanes:
            raise BridgeStopped(
                "the bridge was never started"
                if self._life.loop is None
                else "the bridge is stopped"
            )
        self._life.check_loop()
        if max_frame_bytes is None:
            max_frame_bytes = self.limits.max_frame_bytes
        elif framing is not None:
            self.check_frame_limit(max_frame_bytes)
        pending = collector = None
        if engine is not None:
            limits = self.limits
            requests = Requests(limits.pending_per_connection, limits.in_flight_bytes)
            pending = LanePending(self.parts.pending, engine, requests)
            collector = Collector(
                requests, calls_connected=engine.calls_connected, calls_eof=engine.calls_eof
            )
        work = make_work(
            factory,
            views_allowed=views_allowed,
            framing=framing,
            max_frame_bytes=max_frame_bytes,
            max_reply_bytes=self.limits.max_reply_bytes
            if max_reply_bytes is None
            else max_reply_bytes,
            window_bytes=self.limits.window_bytes,
            tls=tls,
            info=info,
            may_start_tls=declares(factory, "may_start_tls"),
            collector=collector,
        )
        lane = Lane(sink, work, is_framed=framing is not None)
        if pending is not None:
            lane.pending = pending
            pending.attach(lane, self._admission)
        self.parts.lanes.add(lane)
        self.parts.sweep.start(self._loop)
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
        if self.parts.worker.is_this_thread():
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
        self._life.check_loop()
        submission = Submission()
        lane = self.open(submission, lambda: InContext(factory, context), views_allowed=True)
        try:
            return await submission.run(self._admission, lane, view)
        finally:
            self.close_lane(lane)

    @property
    def streams(self) -> DirectStreams:
        """Who receives and sends for streams past their protocols; see `loop.direct`."""
        return self.parts.streams

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
        lane.abandon()
        if lane.pending is not None:
            lane.pending.close()
        if self._life.has_ended:
            self.parts.lanes.discard(lane)
        else:
            self._admission.publish_close(lane)

    def set_excess(self, lane: Lane, excess_bytes: int) -> None:
        """Note that the unsent replies of a framed lane are that far above its high water.

        They count against the pool, as the frames did that they answer. A lane, this one or
        another, that may go on by it gets its credit in the loop's next iteration.
        """
        if self._admission.set_excess(lane, excess_bytes):
            self._loop.call_soon(self._delivery.give_credit, lane)
        if self._admission.budget.waiting_lanes:
            self._loop.call_soon(self._delivery.serve_waiters)

    def set_stalled(self, lane: Lane, is_stalled: bool) -> None:
        """Note whether the peer of `lane` takes its replies; if not, no more than a window comes.

        What the worker defers of a stalled lane goes on when it is stalled no more.
        """
        if is_stalled:
            lane.work.window.stall()
        else:
            lane.work.window.go_on()
            if not self._life.has_ended:
                self._admission.resume(lane)

    def statistics(self) -> BridgeStatistics:
        """Return the counters as they are now. Thread: any; other than on the loop, not exact."""
        return counters_of(self.parts)

    def pending_statistics(self) -> PendingStatistics:
        """Return what is known of requests whose replies come later. Thread: loop."""
        return self.parts.pending.statistics()

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        assert self._life.loop is not None
        return self._life.loop
