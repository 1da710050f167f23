"""Answers to whole frames: one connection's processor is given them, and its replies are framed.

A call of the processor with one frame counts as a call. What of a method for many frames counts
as how many, the grammar says.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from asyncrev.frames.grammar import Grammar, Run
from asyncrev.processors import Processor, as_reply, check_reply
from asyncrev.work.reply_window import UNBOUNDED_BYTES
from asyncrev.work.tls_parameters import StartTls

__all__ = ["FrameAnswers", "Pieces"]

Pieces = list[bytes | memoryview]

# A method for many frames gets so many bytes of them at once while their replies are longer. Where
# no `replies_fit` promises that they are not, it begins with less: all together may have
# `max_reply_bytes`.
_AT_ONCE_BYTES = 16 * 1024
_FIRST_AT_ONCE_BYTES = 256


class FrameAnswers:
    """Has a processor answer whole frames, and frames its replies. Thread: worker.

    Attributes:
        takes_many: whether the processor has the grammar's method for many frames at once.
        at_once_bytes: the most that this method is to be given, but for one frame.
        calls: how many calls were made since the owner set this to 0.
        answered_bytes: the length of the frames that were answered since the owner set this to 0.
        frames: how many were answered so far. Writer: worker; readers: any.
        start_tls: what the processor has asked for, if it has; then nothing more is answered. The
            owner sets it back.
    """

    __slots__ = (
        "_checks_many",
        "_grammar",
        "_max_frame_bytes",
        "_max_reply_bytes",
        "_method",
        "_processor",
        "_see_frames",
        "_steps",
        "answered_bytes",
        "at_once_bytes",
        "calls",
        "frames",
        "start_tls",
        "takes_many",
    )

    def __init__(
        self,
        grammar: Grammar,
        processor: Processor,
        *,
        max_frame_bytes: int,
        max_reply_bytes: int,
        steps: list[int] | None = None,
    ) -> None:
        """Keep `processor`, which is not closed here.

        `max_reply_bytes`: 0 for no bound. `steps`: see `Pool`; None if nobody looks.
        """
        self._steps = [0] if steps is None else steps
        self._grammar = grammar
        self._processor = processor
        self._max_frame_bytes = max_frame_bytes
        self._max_reply_bytes = max_reply_bytes or UNBOUNDED_BYTES
        name, trust_name = grammar.method_name, grammar.trust_name
        self._method: Any = getattr(processor, name, None) if name else None
        self._checks_many = bool(trust_name) and not getattr(processor, trust_name, False)
        # A processor that taps sees one frame in `process`, and many here.
        self._see_frames: Any = getattr(processor, "see_frames", None)
        self.takes_many = self._method is not None
        if not self.takes_many:
            self.at_once_bytes = UNBOUNDED_BYTES
        elif getattr(processor, "replies_fit", False):
            self.at_once_bytes = grammar.most_at_once_bytes
        else:
            self.at_once_bytes = _FIRST_AT_ONCE_BYTES
        self.calls = 0
        self.answered_bytes = 0
        self.frames = 0
        self.start_tls: StartTls | None = None

    def work(
        self,
        frames: memoryview,
        runs: Sequence[Run],
        pieces: Pieces,
        most_calls: int,
        most_reply_bytes: int,
    ) -> int:
        """Answer whole frames as far as allowed; return how many bytes of them were answered.

        It adds at most one piece, bytes or a view of the frames' memory. One by one, frames before
        one that fails are answered; of many at once, none are.

        Raises:
            ProcessorError: a reply is not bytes-like, too long, or cannot be framed.
            Exception: what the processor raises.
        """
        grammar = self._grammar
        if self._method is None:
            spans = grammar.spans(frames, runs)
            return self.work_one_by_one(frames, spans, pieces, most_calls, most_reply_bytes)
        self._steps[0] += 1
        if self._see_frames is not None:
            self._see_frames(frames, runs)
        replies: Any
        replies, calls, number = grammar.answer_many(
            self._method, frames, runs, self._max_frame_bytes
        )
        self.calls += calls
        if type(replies) is not bytes:
            replies = as_reply(replies, frames.obj, views_allowed=True)
        reply_bytes = len(replies) if replies else 0
        if reply_bytes > frames.nbytes:
            check_reply(reply_bytes, frames.nbytes, self._max_reply_bytes)
            fitting_bytes = 1 + frames.nbytes * _AT_ONCE_BYTES // reply_bytes
        else:
            fitting_bytes = grammar.most_at_once_bytes
        self.at_once_bytes = min(fitting_bytes, 2 * self.at_once_bytes)
        if replies:
            if self._checks_many:
                grammar.check_many(replies, number)
            pieces.append(replies)
        self.answered_bytes += frames.nbytes
        self.frames += number or sum(run.frames for run in runs)
        return frames.nbytes

    def work_one_by_one(
        self,
        frames: memoryview,
        spans: Iterable[tuple[int, int, int]],
        pieces: Pieces,
        most_calls: int,
        most_reply_bytes: int,
    ) -> int:
        """Do what `work` does, of frames at `spans`, as of `Grammar.spans`, by `process` alone."""
        grammar, process, most_bytes = self._grammar, self._processor.process, self._max_reply_bytes
        forbidden_byte, steps = grammar.forbidden_byte, self._steps
        # One buffer, because an object for each piece of 256 KiB of empty lines takes 100 MiB.
        replies = bytearray()
        # Frames in [kept_off, done_off) were answered where they lie, with their own bytes.
        kept_off = done_off = calls = done = 0
        try:
            for start_off, end_off, next_off in spans:
                payload = frames[start_off:end_off]
                calls += 1
                steps[0] = calls
                reply = process(payload)
                if reply is payload:
                    if forbidden_byte is not None and forbidden_byte in bytes(payload):
                        raise grammar.forbidden(payload)
                else:
                    replies += frames[kept_off:done_off]
                    kept_off = next_off
                    own = reply if type(reply) is bytes else self._own(reply)
                    if own is not None:
                        if len(own) > most_bytes:
                            check_reply(len(own), end_off - start_off, most_bytes)
                        grammar.encode_into(replies, own, frames[end_off:next_off])
                done_off = next_off
                done += 1
                if calls >= most_calls or len(replies) >= most_reply_bytes or self.start_tls:
                    break
        finally:  # also those before a frame that failed
            self.calls += calls
            self.frames += done
            self.answered_bytes += done_off
            answered_in_place = frames[kept_off:done_off]
            if kept_off:
                replies += answered_in_place
                if replies:
                    pieces.append(bytes(replies))
            elif done_off:
                pieces.append(answered_in_place)
        return done_off

    def _own(self, reply: Any) -> bytes | memoryview | None:
        """Return a reply that is kept; note what else it asks for."""
        if type(reply) is StartTls:
            self.start_tls = reply
            reply = reply.reply
        return as_reply(reply, None, views_allowed=False)

    def answer_open(
        self, held: memoryview, storage: object
    ) -> tuple[bytes | memoryview | None, bytes]:
        """Return the reply to a frame that the end of input finishes, and what separates it.

        `storage`: the memory of `held`; of that a view may be returned.

        Raises:
            RemoteError: the frame may not end here.
            ProcessorError: as `work`.
            Exception: what the processor raises.
        """
        grammar = self._grammar
        open_end = grammar.end_open(held, self._max_frame_bytes)
        payload = held[open_end.start_off : open_end.end_off]
        answer: Any = self._processor.process(payload)
        if type(answer) is StartTls:
            self.start_tls = answer
            answer = answer.reply
        reply = as_reply(answer, storage, views_allowed=True)
        if reply is not None:
            check_reply(len(reply), held.nbytes, self._max_reply_bytes)
            if grammar.forbidden_byte is not None and grammar.forbidden_byte in bytes(reply):
                raise grammar.forbidden(reply)
        self.answered_bytes += held.nbytes
        self.frames += 1
        return reply, open_end.separator

    def last_word(self, before_bytes: int = 0) -> bytes:
        """Return what the processor says at the end of input, as a frame; empty if nothing.

        `before_bytes`: the length of the reply to an open last frame. The two count as one reply,
        because nothing can come between them that waits for the window (I21).

        Raises:
            ProcessorError: as `work`.
            Exception: what the processor raises.
        """
        last = self._processor.eof()
        return b"" if last is None else self.framed(last, before_bytes)

    def framed(self, said: Any, before_bytes: int = 0) -> bytes:
        """Return what answers no input as a frame; `before_bytes` count with it.

        Raises:
            ProcessorError: it is not bytes-like, too long, or cannot be framed.
        """
        reply = as_reply(said, None, views_allowed=False)
        assert reply is not None
        check_reply(before_bytes + len(reply), 0, self._max_reply_bytes)
        return self._grammar.encode(reply)
