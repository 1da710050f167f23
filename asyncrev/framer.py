"""The framer: one connection's frames, from chunks as the network cut them to replies.

Theory of operation. Whole frames are worked on where they lie, all of a chunk in one go. What is
left at the end of a chunk, the beginning of a frame, is carried in a block of the pool. The next
chunk brings what that frame lacks; once whole, it is worked on in its block. A reply that is a view
of that block is lent to the loop (see `Pool.lend`).

How much of a chunk is worked on at once is bounded by calls and by bytes of replies: the caller
brings the rest again. A call of the processor with one frame counts as a call. Of what a method for
many frames gets, a run counts as two, and eight lines as one, because they cost about as much.

  I17  a lane holds at most one block that is not lent, and none between frames
"""

from collections.abc import Iterable, Sequence
from typing import Any

from asyncrev.errors import FrameTooLarge, IncompleteFrame, ProcessorError, RemoteError
from asyncrev.frames.grammar import UNBOUNDED_STEPS, Run
from asyncrev.frames.lines import Lines, newline_off
from asyncrev.frames.prefixed import prefixed_spans
from asyncrev.frames.registry import Framing
from asyncrev.pool import Block, Pool
from asyncrev.processors import Processor, Reply, as_reply, check_reply
from asyncrev.reply_window import UNBOUNDED_BYTES

__all__ = ["Framer"]

Pieces = list[bytes | memoryview]

# A method for many frames gets so many bytes of them at once: of lines always, because empty lines
# are an object each for a moment; of others while their replies are longer. Where no `replies_fit`
# promises that they are not, it begins with less: all together may have `max_reply_bytes`.
_AT_ONCE_BYTES = 16 * 1024
_FIRST_AT_ONCE_BYTES = 256
_LINES_PER_CALL = 8
_LF = 0x0A  # a number, because `bytes in bytes` takes 0.5 us longer
_CALLS_PER_RUN = 2  # frames of 0 and 1 bytes in turn: 1 us each; 4 and 5 equal ones in turn: 4 us


class Framer:
    """Cuts input into frames, has a processor answer them, and frames its replies.

    It is a processor of chunks itself, with two differences: its replies need no check, and what
    goes wrong is in `error`, because the frames before it have been answered. All methods:
    the worker's thread.

    Attributes:
        error: why no further input can be taken.
        carry_bytes: what of an unfinished frame is kept.
        frame_seq: how many frames have been carried, the unfinished one included.
        calls: how many calls the last `process` cost.
        used_bytes: how much of its chunk the last `process` has used.
        answered_bytes: length of the frames that it answered, parts that came earlier included.
    """

    __slots__ = (
        "_at_once_bytes",
        "_block",
        "_framing",
        "_hook",
        "_keeps_line_ends",
        "_max_frame_bytes",
        "_max_reply_bytes",
        "_most_at_once_bytes",
        "_pool",
        "_processor",
        "_see_chunk",
        "_views_allowed",
        "answered_bytes",
        "calls",
        "carry_bytes",
        "error",
        "frame_seq",
        "used_bytes",
    )

    def __init__(
        self,
        framing: Framing,
        processor: Processor,
        pool: Pool,
        *,
        max_frame_bytes: int,
        max_reply_bytes: int = 0,
        views_allowed: bool,
    ) -> None:
        self._framing = framing
        self._max_reply_bytes = max_reply_bytes or UNBOUNDED_BYTES
        self._processor = processor
        self._pool = pool
        self._max_frame_bytes = max_frame_bytes
        self._views_allowed = views_allowed
        name = "process_lines" if isinstance(framing, Lines) else "process_prefixed"
        self._hook: Any = getattr(processor, name, None)
        self._most_at_once_bytes = _AT_ONCE_BYTES if isinstance(framing, Lines) else UNBOUNDED_BYTES
        if self._hook is None:
            self._at_once_bytes = UNBOUNDED_BYTES
        elif getattr(processor, "replies_fit", False):
            self._at_once_bytes = self._most_at_once_bytes
        else:
            self._at_once_bytes = _FIRST_AT_ONCE_BYTES
        self._keeps_line_ends = bool(getattr(processor, "keeps_line_ends", False))
        self._see_chunk: Any = getattr(processor, "see_chunk", None)
        self._block: Block | None = None
        self.carry_bytes = 0
        self.frame_seq = 0
        self.calls = 0
        self.used_bytes = 0
        self.answered_bytes = 0
        self.error: BaseException | None = None

    def see(self, chunk: memoryview) -> None:
        """Show a chunk, as it came and before any of it is worked on, to a processor that taps.

        Sets `error` to what its `see_chunk` raises.
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
        then `used_bytes` is less than `chunk` has, and the caller must bring the rest before
        anything else. `chunk`: writable, contiguous, format "B". A view in the reply is of it or
        of a lent block.
        """
        pieces: Pieces = []
        chunk_bytes = chunk.nbytes
        self.calls = self.answered_bytes = 0
        try:
            if self._block is not None:
                chunk = self._finish_carried(chunk, pieces)
            summed = 0
            while chunk and self.calls < most_calls:
                while summed < len(pieces):  # each once: there may be as many as calls
                    most_reply_bytes -= len(pieces[summed])
                    summed += 1
                if most_reply_bytes <= 0:
                    break
                chunk = self._work_on_front(
                    chunk, pieces, most_calls - self.calls, most_reply_bytes
                )
        except BaseException as error:
            self._fail(error)
        self.used_bytes = chunk_bytes - chunk.nbytes
        return self._assemble(pieces)

    def eof(self) -> Reply | None:
        """Return the reply to an unfinished last line, and the processor's last word as a frame.

        Sets `error` to IncompleteFrame if the input ended within a frame with a length prefix.
        """
        pieces: Pieces = []
        self.calls = self.answered_bytes = 0
        try:
            unended = self._block is not None and self._end_carried(self._block, pieces)
            last = bytearray()
            self._add_frame(last, self._processor.eof(), 0, b"\n")
            if last:
                # The reply to a line without an end needs one now.
                pieces.append(b"\n" + last if unended else bytes(last))
        except BaseException as error:
            self._fail(error)
        return self._assemble(pieces)

    def close(self) -> None:
        """Give back what is carried, and close the processor."""
        self._drop_block()
        close = getattr(self._processor, "close", None)
        if close is not None:
            close()

    # -- the frame that is carried ---------------------------------------------------------------

    def _finish_carried(self, chunk: memoryview, pieces: Pieces) -> memoryview:
        """Give the carried frame what `chunk` has of it; return the rest of `chunk`."""
        assert self._block is not None
        held_bytes = self.carry_bytes
        held = self._block.view[:held_bytes]
        missing_bytes, whole = self._framing.missing(held, chunk, self._max_frame_bytes)
        total_bytes = held_bytes + missing_bytes
        block = self._block = self._pool.grow(self._block, held_bytes, total_bytes)
        block.view[held_bytes:total_bytes] = chunk[:missing_bytes]
        self.carry_bytes = total_bytes
        frame = block.view[:total_bytes]
        if not whole:
            self._framing.check_open(frame, self._max_frame_bytes)
            return chunk[missing_bytes:]
        scan = self._framing.scan(frame, self._max_frame_bytes)
        if scan.error is not None:
            raise scan.error
        reply: Pieces = []
        self._work(frame, scan.runs, reply, UNBOUNDED_STEPS, UNBOUNDED_BYTES)
        self._leave_block(block, reply[0] if reply else b"", pieces)
        return chunk[missing_bytes:]

    def _end_carried(self, block: Block, pieces: Pieces) -> bool:
        """Answer the last line, which has no end; return whether there was a reply."""
        held = block.view[: self.carry_bytes]
        if not isinstance(self._framing, Lines):
            expected_bytes = self._framing.expected_bytes(held)
            of = "of its length prefix" if expected_bytes is None else f"of {expected_bytes}"
            raise IncompleteFrame(
                f"the input ended within a frame: {self.carry_bytes} bytes {of} had come"
            )
        if self.carry_bytes > self._max_frame_bytes:  # its last byte was no half of a line end
            raise FrameTooLarge(
                f"the last line has {self.carry_bytes} bytes; "
                f"max_frame_bytes is {self._max_frame_bytes}"
            )
        reply = as_reply(self._processor.process(held), block.storage, views_allowed=True)
        if reply is not None:
            check_reply(len(reply), held.nbytes, self._max_reply_bytes)
            if _LF in bytes(reply):
                raise _two_lines(reply)
        self.answered_bytes += held.nbytes
        self._leave_block(block, reply or b"", pieces)
        return reply is not None

    def _leave_block(self, block: Block, reply: bytes | memoryview, pieces: Pieces) -> None:
        """Take the reply to the frame in `block`, and let go of the block."""
        self._block, self.carry_bytes = None, 0
        if type(reply) is memoryview and reply.obj is block.storage and self._views_allowed:
            self._pool.lend(block)
        else:
            reply = bytes(reply)
            self._pool.give_back(block)
        if reply:
            pieces.append(reply)

    def _carry(self, beginning: memoryview) -> None:
        """Carry the beginning of a frame."""
        self._framing.check_open(beginning, self._max_frame_bytes)
        block = self._block = self._pool.lease(beginning.nbytes)
        block.view[: beginning.nbytes] = beginning
        self.carry_bytes = beginning.nbytes
        self.frame_seq += 1

    def _drop_block(self) -> None:
        block, self._block = self._block, None
        self.carry_bytes = 0
        if block is not None:
            self._pool.give_back(block)

    # -- whole frames ------------------------------------------------------------------------------

    def _work_on_front(
        self, chunk: memoryview, pieces: Pieces, most_calls: int, most_reply_bytes: int
    ) -> memoryview:
        """Work on whole frames at the front of `chunk`, or carry it; return the rest of it."""
        front = chunk
        if chunk.nbytes > self._at_once_bytes:
            front = chunk[: self._at_once_bytes]
        most_steps = most_calls if self._hook is None else 1 + most_calls // _CALLS_PER_RUN
        scan = self._framing.scan(front, self._max_frame_bytes, most_steps)
        if front is not chunk and not (scan.consumed_bytes or scan.stopped or scan.error):
            # The first frame is longer than that. It is taken alone, or carried.
            front = chunk
            if isinstance(self._framing, Lines):
                front = chunk[: newline_off(chunk, self._at_once_bytes) + 1]
            scan = self._framing.scan(front, self._max_frame_bytes, 1)
        whole_bytes = scan.consumed_bytes
        if whole_bytes:
            frames = front if whole_bytes == front.nbytes else front[:whole_bytes]
            done_bytes = self._work(frames, scan.runs, pieces, most_calls, most_reply_bytes)
            chunk = chunk[done_bytes:]
            if done_bytes < whole_bytes or scan.stopped or front.nbytes < done_bytes + chunk.nbytes:
                return chunk  # what follows is looked at the next time
        if scan.error is not None:
            raise scan.error
        if chunk and not scan.stopped:
            self._carry(chunk)
            return chunk[chunk.nbytes :]
        return chunk

    def _work(
        self,
        frames: memoryview,
        runs: Sequence[Run],
        pieces: Pieces,
        most_calls: int,
        most_reply_bytes: int,
    ) -> int:
        """Answer whole frames as far as allowed; return how many bytes of them were answered.

        It adds at most one piece, bytes or a view of the frames' memory.
        """
        framing, hook = self._framing, self._hook
        if hook is None:
            spans = (
                framing.spans(frames)
                if isinstance(framing, Lines)
                else prefixed_spans(runs, framing.prefix_bytes)
            )
            return self._work_one_by_one(frames, spans, pieces, most_calls, most_reply_bytes)
        if isinstance(framing, Lines):
            lines = frames.tobytes().count(b"\n")  # before the processor changes them
            replies = hook(frames)
            self.calls += 1 + lines // _LINES_PER_CALL
            # The scan looks at each line where they are not much shorter than they may be.
            self.calls += min(lines, 2 * frames.nbytes // self._max_frame_bytes)
        else:
            replies = hook(frames, runs, framing.prefix_bytes)
            self.calls += _CALLS_PER_RUN * len(runs)
        if type(replies) is not bytes:
            replies = as_reply(replies, frames.obj, views_allowed=True)
        reply_bytes = len(replies) if replies else 0
        if reply_bytes > frames.nbytes:
            check_reply(reply_bytes, frames.nbytes, self._max_reply_bytes)
            fitting_bytes = 1 + frames.nbytes * _AT_ONCE_BYTES // reply_bytes
        else:
            fitting_bytes = self._most_at_once_bytes
        self._at_once_bytes = min(fitting_bytes, 2 * self._at_once_bytes)
        if replies:
            if isinstance(framing, Lines) and not self._keeps_line_ends:
                _check_lines(replies, lines)
            pieces.append(replies)
        self.answered_bytes += frames.nbytes
        return frames.nbytes

    def _work_one_by_one(
        self,
        frames: memoryview,
        spans: Iterable[tuple[int, int, int]],
        pieces: Pieces,
        most_calls: int,
        most_reply_bytes: int,
    ) -> int:
        process, is_lines = self._processor.process, isinstance(self._framing, Lines)
        # One buffer, because an object for each piece of 256 KiB of empty lines takes 100 MiB.
        replies = bytearray()
        # Frames in [kept_off, done_off) were answered where they lie, with their own bytes.
        kept_off = done_off = calls = 0
        try:
            for start_off, end_off, next_off in spans:
                payload = frames[start_off:end_off]
                calls += 1
                reply = process(payload)
                if reply is payload:
                    if is_lines and _LF in bytes(payload):
                        raise _two_lines(payload)
                else:
                    replies += frames[kept_off:done_off]
                    kept_off = next_off
                    self._add_frame(replies, reply, end_off - start_off, frames[end_off:next_off])
                done_off = next_off
                if calls >= most_calls or len(replies) >= most_reply_bytes:
                    break
        finally:  # also those before a frame that failed
            self.calls += calls
            self.answered_bytes += done_off
            answered_in_place = frames[kept_off:done_off]
            if kept_off:
                replies += answered_in_place
                if replies:
                    pieces.append(bytes(replies))
            elif done_off:
                pieces.append(answered_in_place)
        return done_off

    # -- replies -----------------------------------------------------------------------------------

    def _add_frame(
        self, replies: bytearray, reply: object, payload_bytes: int, line_end: bytes | memoryview
    ) -> None:
        """Add `reply`, to a payload of `payload_bytes`, as a frame; None is none."""
        payload = as_reply(reply, None, views_allowed=False)
        if payload is None:
            return
        if len(payload) > self._max_reply_bytes:
            check_reply(len(payload), payload_bytes, self._max_reply_bytes)
        if isinstance(self._framing, Lines):
            if _LF in payload:
                raise _two_lines(payload)
            replies += payload
            replies += line_end
        else:
            replies += self._framing.wrap(len(payload))
            replies += payload

    def _assemble(self, pieces: Pieces) -> Reply | None:
        if not pieces:
            return None
        if not self._views_allowed:
            return b"".join(pieces)
        return pieces[0] if len(pieces) == 1 else tuple(pieces)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, RemoteError):
            # Its traceback tells nothing, but would keep the worker's frames, and with them the
            # bridge and its ring, for as long as somebody keeps the error: a log record does.
            error.__traceback__ = None
        self.error = error
        self._drop_block()


def _two_lines(reply: bytes | memoryview) -> ProcessorError:
    line = bytes(reply)
    off = line.find(b"\n")
    return ProcessorError(
        f"a reply to one line contains a line end, at byte {off} of {len(line)}: "
        f"{line[max(0, off - 20) : off + 20]!r}; it would be taken for two replies, and shift all "
        "later ones; answer with the payload alone, its line end is added"
    )


def _check_lines(replies: bytes | memoryview, most: int) -> None:
    """Raise ProcessorError if `replies` are more lines than the `most` that came."""
    count = bytes(replies).count(b"\n")
    if count > most:
        raise ProcessorError(
            f"process_lines answered {most} lines with {count}; the replies would be taken for "
            "those to other lines; answer each with one at most"
        )
