"""The framer: splits one connection's chunks into frames, and frames the replies.

Theory of operation. Whole frames are processed in place, all frames of a chunk in one go. A partial
frame at the end of a chunk is kept in a block of the buffer pool. Later chunks bring the rest; once
the frame is whole, it is processed in its block. If the reply is a view of that block, the block is
lent to the loop (see `Pool.lend`).

Calls and bytes of replies bound how much of a chunk is processed at once; the caller passes the
rest again. See `frame_answers` for what counts as a call.

  I17  a lane holds at most one block that is not lent, and none between frames
"""

from typing import Any

from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import LocalError, PeerRefused, RemoteError
from asyncrev.frames.grammar import CALLS_PER_RUN, UNBOUNDED_STEPS, Grammar
from asyncrev.processors import Buffer, Processor, Reply, check_many_method, tell_connected
from asyncrev.work.block_pool import Block, Pool
from asyncrev.work.frame_answers import FrameAnswers, Pieces
from asyncrev.work.lone_frames import LoneFrames
from asyncrev.work.reply_window import UNBOUNDED_BYTES
from asyncrev.work.tls_parameters import StartTls

__all__ = ["Framer"]


class Framer:
    """Splits input into frames, passes them to a processor, and frames its replies.

    It is a processor of chunks itself, with two differences: its replies need no check, and it
    stores an error in `error` instead of raising it, because frames before it have been answered.
    All methods: the worker's thread.

    Attributes:
        error: why no further input can be processed.
        partial_frame_bytes: length of the partial frame that is kept.
        frame_seq: how many partial frames were kept so far, the present one included.
        calls: how many calls the last `process` needed.
        used_bytes: how much of its chunk the last `process` has used.
        answered_bytes: length of the frames that it answered, including parts from earlier chunks.
    """

    __slots__ = (
        "_answers",
        "_block",
        "_grammar",
        "_max_frame_bytes",
        "_pool",
        "_processor",
        "_see_chunk",
        "_views_allowed",
        "answered_bytes",
        "calls",
        "error",
        "frame_seq",
        "partial_frame_bytes",
        "used_bytes",
    )

    def __init__(
        self,
        framing: Grammar,
        processor: Processor,
        pool: Pool,
        *,
        max_frame_bytes: int,
        max_reply_bytes: int = 0,
        views_allowed: bool,
        answers: FrameAnswers | None = None,
    ) -> None:
        """Own `processor`. `views_allowed`: replies may be views of chunks and lent blocks.

        `answers`: has frames answered in another way than one by which a processor is called.

        Raises:
            ProcessorError: the processor's method for many frames cannot be called.
        """
        check_many_method(processor, framing.method_name, framing.method_arguments)
        self._grammar = framing
        self._processor = processor
        self._pool = pool
        self._max_frame_bytes = max_frame_bytes
        self._views_allowed = views_allowed
        self._answers = answers or FrameAnswers(
            framing,
            processor,
            max_frame_bytes=max_frame_bytes,
            max_reply_bytes=max_reply_bytes,
            steps=pool.steps,
        )
        self._see_chunk: Any = getattr(processor, "see_chunk", None)
        self._block: Block | None = None
        self.partial_frame_bytes = 0
        self.frame_seq = 0
        self.calls = 0
        self.used_bytes = 0
        self.answered_bytes = 0
        self.error: BaseException | None = None

    def lone_frames(self) -> LoneFrames | None:
        """Return what answers chunks that are one frame each between calls, or None.

        Only while no part of a frame is kept. Taps have to see each chunk, so with them there is
        none.
        """
        if self._see_chunk is not None:
            return None
        return LoneFrames(self._grammar, self._answers, self._max_frame_bytes)

    @property
    def answers(self) -> FrameAnswers:
        """What has frames answered, and counts them."""
        return self._answers

    def take_start_tls(self) -> StartTls | None:
        """Return what the processor has asked for since the last call, if it has."""
        start, self._answers.start_tls = self._answers.start_tls, None
        return start

    def connected(self, info: ConnectionInfo) -> Buffer | None:
        """Tell the processor who the peer is; return what it says to that, not framed.

        Raises what the processor raises.
        """
        return tell_connected(self._processor, info)

    def see(self, chunk: memoryview) -> None:
        """Pass a chunk to the taps, if there are any, before it is processed.

        Sets `error` to what the processor's `see_chunk` raises.
        """
        if self._see_chunk is not None:
            try:
                self._see_chunk(chunk)
            except BaseException as error:
                self._fail(error)

    def process(
        self,
        chunk: memoryview,
        most_calls: int = UNBOUNDED_STEPS,
        most_reply_bytes: int = UNBOUNDED_BYTES,
    ) -> Reply | None:
        """Return the replies to the frames that `chunk` completes, framed, or None.

        It stops after about `most_calls` calls, or with the reply that reaches `most_reply_bytes`;
        then `used_bytes` is less than the length of `chunk`, and the caller must pass the rest
        before anything else. `chunk`: writable, contiguous, format "B". A view in the reply is a
        view of it or of a lent block.
        """
        pieces: Pieces = []
        chunk_bytes = chunk.nbytes
        answers = self._answers
        answers.calls = answers.answered_bytes = 0
        try:
            if self._block is not None:
                chunk = self._finish_partial(chunk, pieces)
            summed = 0
            while chunk and answers.calls < most_calls and answers.start_tls is None:
                while summed < len(pieces):  # each once, because there may be as many as calls
                    most_reply_bytes -= len(pieces[summed])
                    summed += 1
                if most_reply_bytes <= 0:
                    break
                chunk = self._process_front(
                    chunk, pieces, most_calls - answers.calls, most_reply_bytes
                )
        except BaseException as error:
            self._fail(error, pieces)
        self.used_bytes = chunk_bytes - chunk.nbytes
        self.calls, self.answered_bytes = answers.calls, answers.answered_bytes
        return self._assemble(pieces)

    def eof(self) -> Reply | None:
        """Return the reply to an open last frame, and the processor's last reply as a frame.

        Sets `error` to IncompleteFrame if the grammar does not allow an open last frame.
        """
        pieces: Pieces = []
        answers = self._answers
        answers.calls = answers.answered_bytes = 0
        separator = b""
        try:
            if self._block is not None:
                separator = self._end_partial(self._block, pieces)
            before_bytes = sum(map(len, pieces))
            last = answers.last_word(before_bytes) if answers.start_tls is None else b""
            if last:
                pieces.append(separator + last)
        except BaseException as error:
            self._fail(error, pieces, separator)
        self.calls, self.answered_bytes = answers.calls, answers.answered_bytes
        return self._assemble(pieces)

    def close(self) -> None:
        """Give back the partial frame's block, and close the processor."""
        self._drop_block()
        close = getattr(self._processor, "close", None)
        if close is not None:
            close()

    # -- the partial frame -----------------------------------------------------------------------

    def _finish_partial(self, chunk: memoryview, pieces: Pieces) -> memoryview:
        """Add the bytes of the partial frame from `chunk`; return the rest of `chunk`."""
        assert self._block is not None
        held_bytes = self.partial_frame_bytes
        held = self._block.view[:held_bytes]
        missing_bytes, whole = self._grammar.missing(held, chunk, self._max_frame_bytes)
        total_bytes = held_bytes + missing_bytes
        block = self._block = self._pool.grow(self._block, held_bytes, total_bytes)
        block.view[held_bytes:total_bytes] = chunk[:missing_bytes]
        self.partial_frame_bytes = total_bytes
        frame = block.view[:total_bytes]
        if not whole:
            self._grammar.check_open(frame, self._max_frame_bytes)
            return chunk[missing_bytes:]
        scan = self._grammar.scan(frame, self._max_frame_bytes)
        if scan.error is not None:
            raise scan.error
        if scan.consumed_bytes != total_bytes:
            raise LocalError(
                f"grammar {self._grammar.name}: missing() calls a frame of {total_bytes} bytes "
                f"whole, but scan() finds {scan.consumed_bytes} bytes of whole frames in it"
            )
        reply: Pieces = []
        self._answers.work(frame, scan.runs, reply, UNBOUNDED_STEPS, UNBOUNDED_BYTES)
        self._leave_block(block, reply[0] if reply else b"", pieces)
        return chunk[missing_bytes:]

    def _end_partial(self, block: Block, pieces: Pieces) -> bytes:
        """Answer the open last frame; return the separator before another reply."""
        held = block.view[: self.partial_frame_bytes]
        reply, separator = self._answers.answer_open(held, block.storage)
        self._leave_block(block, reply or b"", pieces)
        return separator if reply is not None else b""

    def _leave_block(self, block: Block, reply: bytes | memoryview, pieces: Pieces) -> None:
        """Add the reply to the frame in `block`, and lend the block or give it back."""
        self._block, self.partial_frame_bytes = None, 0
        if type(reply) is memoryview and reply.obj is block.storage and self._views_allowed:
            self._pool.lend(block)
        else:
            reply = bytes(reply)
            self._pool.give_back(block)
        if reply:
            pieces.append(reply)

    def _keep_partial(self, beginning: memoryview) -> None:
        """Keep a partial frame in a block."""
        self._grammar.check_open(beginning, self._max_frame_bytes)
        block = self._block = self._pool.lease(beginning.nbytes)
        block.view[: beginning.nbytes] = beginning
        self.partial_frame_bytes = beginning.nbytes
        self.frame_seq += 1

    def _drop_block(self) -> None:
        block, self._block = self._block, None
        self.partial_frame_bytes = 0
        if block is not None:
            self._pool.give_back(block)

    # -- whole frames ------------------------------------------------------------------------------

    def _process_front(
        self, chunk: memoryview, pieces: Pieces, most_calls: int, most_reply_bytes: int
    ) -> memoryview:
        """Process whole frames at the front of `chunk`, or keep a partial one; return the rest."""
        answers = self._answers
        front = chunk
        if chunk.nbytes > answers.at_once_bytes:
            front = chunk[: answers.at_once_bytes]
        most_steps = 1 + most_calls // CALLS_PER_RUN if answers.takes_many else most_calls
        scan = self._grammar.scan(front, self._max_frame_bytes, most_steps)
        if front is not chunk and not (scan.consumed_bytes or scan.stopped or scan.error):
            # The first frame is longer than that, so it is processed alone, or kept.
            missing_bytes, whole = self._grammar.missing(
                front, chunk[front.nbytes :], self._max_frame_bytes
            )
            front = chunk[: front.nbytes + missing_bytes] if whole else chunk
            scan = self._grammar.scan(front, self._max_frame_bytes, 1)
        whole_bytes = scan.consumed_bytes
        if whole_bytes:
            frames = front if whole_bytes == front.nbytes else front[:whole_bytes]
            done_bytes = answers.work(frames, scan.runs, pieces, most_calls, most_reply_bytes)
            chunk = chunk[done_bytes:]
            if answers.start_tls is not None:
                return chunk  # no frames follow
            if done_bytes < whole_bytes or scan.stopped or front.nbytes < done_bytes + chunk.nbytes:
                return chunk  # the rest is scanned by the next call
        if scan.error is not None:
            raise scan.error
        if scan.stopped:
            # Another call would have the same result, without end.
            raise LocalError(
                f"{type(self._grammar).__name__}.scan stopped before its first frame, with "
                f"most_steps={most_steps}; it must take at least one step"
            )
        if chunk:
            self._keep_partial(chunk)
            return chunk[chunk.nbytes :]
        return chunk

    # -- replies and errors ------------------------------------------------------------------------

    def _assemble(self, pieces: Pieces) -> Reply | None:
        if not pieces:
            return None
        if not self._views_allowed:
            return b"".join(pieces)
        return pieces[0] if len(pieces) == 1 else tuple(pieces)

    def _fail(
        self, error: BaseException, pieces: Pieces | None = None, separator: bytes = b""
    ) -> None:
        if isinstance(error, PeerRefused) and pieces is not None:
            try:
                if error.reply:
                    pieces.append(separator + self._answers.framed(error.reply))
            except BaseException as wrong:
                error = wrong
        if isinstance(error, RemoteError):
            # Its traceback has no information, but would keep the worker's stack frames alive, and
            # with them the bridge and its ring, as long as the error itself, which a log record may
            # reference.
            error.__traceback__ = None
        self.error = error
        self._drop_block()
