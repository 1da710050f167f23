"""The worker's part of a raw lane: each chunk, as the network split it, is one call."""

from asyncrev.processors import (
    FunctionProcessor,
    Processor,
    as_reply,
    check_reply,
)
from asyncrev.ring.ring import DATA, EOF, Entry
from asyncrev.work.block_pool import Pool
from asyncrev.work.kernel_choice import kernel_for
from asyncrev.work.lane_work import UNBOUNDED_SHARE, LaneWork, Share
from asyncrev.work.tls_parameters import StartTls

__all__ = ["RawWork"]


class RawWork(LaneWork):
    """Gives chunks to a processor. Thread: worker."""

    __slots__ = ()

    def do(self, entry: Entry, storage: object, pool: Pool, share: Share = UNBOUNDED_SHARE) -> None:
        """See `LaneWork.do`. Chunks of a ring come here only while the lane is not plain."""
        processor = self.plain
        if processor is None or entry.kind is not DATA or self.abandoned:
            super().do(entry, storage, pool, share)
            return
        nbytes = entry.nbytes
        try:
            result = processor.process(entry.view[:nbytes])
            if type(result) is bytes and len(result) <= nbytes:
                entry.result = result  # nearly always
            else:
                self.answer(entry, result, storage)
        except BaseException as error:
            self.fail(entry, error)

    def _do(self, entry: Entry, storage: object, pool: Pool, share: Share) -> None:
        if not self._is_introduced:
            self._introduce(entry, pool)
        processor: Processor = self.processor  # type: ignore[assignment]
        deferred = self.deferred
        if entry.kind is DATA:
            chunk = entry.view[: entry.nbytes]
            if deferred or self.window.is_full():
                entry.nbytes = 0
                self._defer(entry, chunk)
                self._work_on_deferred(entry, processor)
            else:
                self.answer(entry, processor.process(chunk), storage)
        elif entry.kind is EOF and (deferred or self.window.is_full()):
            self._defer_end(entry)
        elif deferred and deferred.nbytes:
            entry.ended = False
            self._work_on_deferred(entry, processor)
        elif entry.kind is EOF or (deferred and deferred.ends and not self.window.is_full()):
            entry.ended = True
            self.deferred = None
            last = as_reply(processor.eof(), storage, views_allowed=self.views_allowed)
            self.answer(entry, last, storage)
        else:
            entry.ended = False
        if self.deferred is None and not self.window.is_full():
            self.plain = processor
            if type(processor) is FunctionProcessor:
                self.use_function(processor.function)
            else:
                self.use_kernel(kernel_for(processor), 0)
        else:
            self.plain = None

    def answer(self, entry: Entry, result: object, storage: object) -> None:
        """Leave what the processor returned in `entry`, of which `entry.nbytes` are answered.

        Raises:
            ProcessorError: it cannot be a reply.
        """
        if type(result) is StartTls:
            self._note_start(result)
            result = result.reply
        if type(result) is not bytes:
            result = as_reply(result, storage, views_allowed=self.views_allowed)
            if result is None:
                return
        reply_bytes = len(result)
        if reply_bytes > entry.nbytes:
            check_reply(reply_bytes, entry.nbytes, self.max_reply_bytes)
            self._note_surplus(entry, reply_bytes - entry.nbytes)
        if entry.result is not None:  # what the processor said to who the peer is
            result = b"".join((entry.result, result))  # type: ignore[arg-type]
        entry.result = result

    def _work_on_deferred(self, entry: Entry, processor: Processor) -> None:
        """Answer the oldest deferred chunk, if the window allows.

        Also when more input comes: a RESUME waits until none is in the ring, maybe for ever.
        """
        deferred = self.deferred
        if deferred is None or self.window.is_full():
            return
        chunk = deferred.head()
        entry.nbytes = chunk.nbytes
        self.answer(entry, processor.process(chunk), chunk.obj)
        self._consume(deferred, chunk.nbytes)
