"""The worker's part of a framed lane: a framer finds the frames in its chunks.

I20  in one batch of the worker a framed lane costs a share of calls, SHARE_CALLS, and what a
     single step exceeds it by; input that would cost more is deferred
"""

from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import ProcessorError
from asyncrev.frames.grammar import Grammar
from asyncrev.processors import ProcessorFactory, Reply, as_reply, make_processor
from asyncrev.ring.ring import DATA, EOF, Entry
from asyncrev.ring.row import Kernel
from asyncrev.work.block_pool import Pool
from asyncrev.work.frame_answers import FrameAnswers
from asyncrev.work.framer import Framer
from asyncrev.work.kernel_choice import kernel_for
from asyncrev.work.lane_work import UNBOUNDED_CALLS, UNBOUNDED_SHARE, LaneWork, Share
from asyncrev.work.lone_frames import LoneFrames
from asyncrev.work.reply_window import UNBOUNDED_BYTES

__all__ = ["FramedWork"]


class FramedWork(LaneWork):
    """Gives frames to a processor, as far as share and window allow. Thread: worker."""

    __slots__ = (
        "_answers",
        "_calls_left",
        "_framing",
        "_kernel",
        "_lone_frames",
        "_max_frame_bytes",
        "_share",
    )

    def __init__(
        self,
        factory: ProcessorFactory,
        framing: Grammar,
        *,
        views_allowed: bool,
        max_frame_bytes: int,
        max_reply_bytes: int = 0,
        window_bytes: int = UNBOUNDED_BYTES,
        info: ConnectionInfo | None = None,
    ) -> None:
        """See `LaneWork`; a payload has at most `max_frame_bytes`. Thread: any."""
        super().__init__(
            factory,
            views_allowed=views_allowed,
            max_reply_bytes=max_reply_bytes,
            window_bytes=window_bytes,
            info=info,
        )
        self._framing = framing
        self._max_frame_bytes = max_frame_bytes
        self._kernel = Kernel.NONE  # does what the processor does with whole frames
        self._share = UNBOUNDED_SHARE  # the last one in which this lane was worked on
        self._calls_left = UNBOUNDED_CALLS  # of that share
        self._lone_frames: LoneFrames | None = None  # what may be `plain`, if anything may
        # Once there is a processor. Writer: worker; readers: any.
        self._answers: FrameAnswers | None = None

    @property
    def frames(self) -> int:
        """See `LaneWork.frames`."""
        answers = self._answers
        return self.kernel_frames + (0 if answers is None else answers.frames)

    def do(self, entry: Entry, storage: object, pool: Pool, share: Share = UNBOUNDED_SHARE) -> None:
        """See `LaneWork.do`. Over TLS all input comes here, and from a ring what is not plain."""
        plain = self.plain
        if plain is None or entry.kind is not DATA or self.abandoned:
            super().do(entry, storage, pool, share)
            return
        try:
            result = plain.process(entry.view[: entry.nbytes])
            if result is not NotImplemented:
                framer = self.processor
                assert isinstance(framer, Framer)
                entry.partial_frame_bytes, entry.frame_seq = 0, framer.frame_seq
                entry.ended = False
                entry.calls = 1
                if result is not None:
                    self.answer(entry, result, storage)
                return
        except BaseException as error:
            self.fail(entry, error)
            return
        super().do(entry, storage, pool, share)

    def answer(self, entry: Entry, result: object, storage: object) -> None:
        """Leave a reply by `plain` in `entry`, of which all was answered."""
        reply = as_reply(result, storage, views_allowed=self.views_allowed)
        if reply is not None and len(reply) > entry.nbytes:
            self._note_surplus(entry, len(reply) - entry.nbytes)
        entry.result = reply

    def _do(self, entry: Entry, storage: object, pool: Pool, share: Share) -> None:
        if not self._is_introduced:
            self._introduce(entry, pool)
        framer = self.processor
        assert isinstance(framer, Framer)
        lone_frames = self._lone_frames
        if lone_frames is not None:
            self._calls_left = lone_frames.calls_left
        if share is not self._share:
            self._share = share
            self._calls_left = share.most_calls
        framer.calls = framer.answered_bytes = 0
        entry.ended = False
        said = entry.result  # to who the peer is
        result = self._frame_entry(entry, framer)
        entry.result = result if said is None else self._joined(said, result)
        entry.partial_frame_bytes = framer.partial_frame_bytes
        entry.frame_seq = framer.frame_seq
        entry.calls = framer.calls
        self._calls_left -= framer.calls
        if result:
            reply_bytes = sum(map(len, result)) if type(result) is tuple else len(result)
            if reply_bytes > framer.answered_bytes:
                self._note_surplus(entry, reply_bytes - framer.answered_bytes)
        if framer.error is not None:
            self.broken = True
            self.deferred = None
            # Its traceback names the framer: to stay there too would keep both until a collection.
            entry.error, framer.error = framer.error, None
        is_idle = not (
            framer.partial_frame_bytes or self.deferred or self.broken or self.window.is_full()
        )
        lone_frames = self._lone_frames
        if lone_frames is not None:
            lone_frames.calls_left = self._calls_left
        # Who has just sent several frames at once is likely to do so again.
        is_lone = is_idle and framer.calls <= 1 and not self.may_start_tls
        self.plain = lone_frames if is_lone else None
        self.use_kernel(self._kernel if is_idle else Kernel.NONE, self._max_frame_bytes)

    def _frame_entry(self, entry: Entry, framer: Framer) -> Reply | None:
        """Return the reply to what `entry` asks for, or to what of it may be done now."""
        deferred = self.deferred
        if entry.kind is DATA:
            chunk = entry.view[: entry.nbytes]
            framer.see(chunk)
            if framer.error is not None:
                return None
            if deferred is None and self._calls_left > 0 and not self.window.is_full():
                result = self._frame(entry, framer, chunk)
                if entry.nbytes < chunk.nbytes and framer.error is None:
                    self._defer(entry, chunk[entry.nbytes :])
                return result
            entry.nbytes = 0
            self._defer(entry, chunk)
            return self._frame_deferred(entry, framer)
        full = self.window.is_full()
        if entry.kind is EOF and (deferred is not None or full):
            self._defer_end(entry)
        elif deferred is not None and deferred.nbytes:
            return self._frame_deferred(entry, framer)
        elif entry.kind is EOF or (deferred is not None and deferred.ends and not full):
            entry.ended = True
            self.deferred = None
            result = framer.eof()
            self._note_start_of(framer)
            return result
        return None

    def _frame(self, entry: Entry, framer: Framer, chunk: memoryview) -> Reply | None:
        """Return the reply to what of `chunk` share and window allow; `entry.nbytes` were used."""
        allowed_bytes = chunk.nbytes + self.window.allowed_bytes()
        result = framer.process(chunk, self._calls_left, allowed_bytes)
        entry.nbytes = framer.used_bytes
        self._note_start_of(framer)
        return result

    def _note_start_of(self, framer: Framer) -> None:
        """Note that the processor asks for TLS, if it does; if it may not, that is its error."""
        if (start := framer.take_start_tls()) is not None:
            try:
                self._note_start(start)
            except ProcessorError as error:
                framer.error = error

    def _frame_deferred(self, entry: Entry, framer: Framer) -> Reply | None:
        """Answer what share and window allow of the oldest deferred piece.

        Also when more input comes: a RESUME waits until none is in the ring, maybe for ever.
        """
        deferred = self.deferred
        if deferred is None or self._calls_left <= 0 or self.window.is_full():
            return None
        result = self._frame(entry, framer, deferred.head())
        self._consume(deferred, entry.nbytes)
        return result

    def _joined(self, said: Reply, result: Reply | None) -> Reply:
        assert type(said) is bytes
        if not result:
            return said
        if not self.views_allowed:
            return b"".join((said, result))  # type: ignore[arg-type]
        return (said, *result) if isinstance(result, tuple) else (said, result)

    def _framed(self, said: bytes) -> bytes:
        return self._framing.encode(said)

    def _make_processor(self, pool: Pool) -> object:
        processor = make_processor(self.factory)
        self._kernel = kernel_for(processor, self._framing)
        framer = Framer(
            self._framing,
            processor,
            pool,
            max_frame_bytes=self._max_frame_bytes,
            max_reply_bytes=self.max_reply_bytes,
            views_allowed=self.views_allowed,
        )
        self._answers = framer.answers
        self._lone_frames = framer.lone_frames()
        if self._lone_frames is not None:
            self._lone_frames.calls_left = self._calls_left
        return framer
