"""Submissions: how a coroutine has bytes worked on, without a connection.

    reply = await bridge.submit(data, Compressor)

A submission is a lane of its own, with a processor of its own: it gets all of `data`, in chunks of
at most a slot, then the end of input; the reply is what it answers in all.
"""

import asyncio
import contextvars

from asyncrev.bridge.admission import Admission
from asyncrev.bridge.lane import Lane
from asyncrev.errors import ProcessorError
from asyncrev.processors import Buffer, Processor, ProcessorFactory, Reply, make_processor

__all__ = ["InContext", "Submission"]


class InContext:
    """Processor that makes another one, and calls it, in its submitter's context variables.

    What it sets is seen by its own later calls, and by nobody else. Thread: worker.
    """

    __slots__ = ("_context", "_processor")

    def __init__(self, factory: ProcessorFactory, context: contextvars.Context) -> None:
        self._context = context
        self._processor: Processor = context.run(make_processor, factory)

    def process(self, chunk: memoryview) -> Buffer | None:
        """Have it work on a chunk."""
        return self._context.run(self._processor.process, chunk)

    def eof(self) -> Buffer | None:
        """Have it say its last word."""
        return self._context.run(self._processor.eof)

    def close(self) -> None:
        """Have it close, if it can."""
        close = getattr(self._processor, "close", None)
        if close is not None:
            self._context.run(close)


class Submission:
    """The sink of one submission. All methods: the loop's thread."""

    __slots__ = ("_changed", "_error", "_has_credit", "_is_over", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._error: BaseException | None = None
        self._has_credit = True
        self._is_over = False
        self._changed = asyncio.Event()

    async def run(self, admission: Admission, lane: Lane, data: memoryview) -> bytes:
        """Publish `data` (format "B", contiguous), then the end of input; return the whole reply.

        Raises what ended the lane; ProcessorError for what is no Exception, such as SystemExit.
        """
        while data and not self._is_over:
            if not self._has_credit:
                await self._wait()
                continue
            slot = admission.claim(lane)
            nbytes = min(len(slot), len(data))
            slot[:nbytes] = data[:nbytes]
            data = data[nbytes:]
            self._has_credit = admission.publish(lane, nbytes)
        if not self._is_over:
            admission.publish_eof(lane)
        while not self._is_over:
            await self._wait()
        error = self._error
        if error is not None:
            # A StopIteration cannot leave a coroutine, and the others would end the loop.
            if isinstance(error, Exception) and not isinstance(error, StopIteration):
                raise error
            raise ProcessorError(f"a processor raised {error!r}") from error
        return b"".join(self._pieces)

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # -- what the bridge calls (bridge.sink.Sink) ------------------------------------------------

    def on_reply(self, reply: Reply) -> int | None:
        """Keep a copy."""
        self._pieces.append(b"".join(reply) if isinstance(reply, tuple) else bytes(reply))
        return None

    def on_end(self) -> None:
        """Wake the caller: everything is answered."""
        self._is_over = True
        self._changed.set()

    def on_error(self, error: BaseException) -> None:
        """Wake the caller, who raises `error`."""
        self._error = error
        self._is_over = True
        self._changed.set()

    def on_credit(self) -> None:
        """Wake the caller to publish on."""
        self._has_credit = True
        self._changed.set()

    def on_no_credit(self) -> None:
        """Do nothing: a submission has no stream."""

    def on_sweep(self, now_s: float) -> None:
        """Do nothing: whoever awaits has `asyncio.timeout`."""
