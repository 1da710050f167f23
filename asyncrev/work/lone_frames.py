"""The short way for a chunk that is one whole frame, as a peer sends it that awaits each reply.

The framer can do anything with a chunk; most of its steps are for frames that span chunks, for many
frames, and for shares and windows that end within a chunk. Without them a frame takes a third of
the time.
"""

from typing import Any

from asyncrev.frames.grammar import Grammar
from asyncrev.work.frame_answers import FrameAnswers, Pieces
from asyncrev.work.lane_work import undeclared_start
from asyncrev.work.reply_window import UNBOUNDED_BYTES

__all__ = ["MOST_BYTES", "LoneFrames"]

# In longer chunks there is more to do than what is saved.
MOST_BYTES = 4096


class LoneFrames:
    """Answers chunks that are one whole frame each, for an idle lane. Thread: worker.

    It is what the plane calls in the place of a processor (`Work.plain`), while the lane holds no
    input and its window is open. One reply may exceed the window (I21), so one frame is all that it
    takes.

    Attributes:
        calls_left: of the lane's share (I20). Its owner sets it.
        may_decline: see `Work.plain`.
    """

    __slots__ = ("_answers", "_grammar", "_max_frame_bytes", "calls_left")

    may_decline = True

    def __init__(self, grammar: Grammar, answers: FrameAnswers, max_frame_bytes: int) -> None:
        """Keep `answers`, which is its framer's."""
        self._grammar = grammar
        self._answers = answers
        self._max_frame_bytes = max_frame_bytes
        self.calls_left = 0

    def process(self, chunk: memoryview) -> Any:
        """Return the reply to `chunk`, framed: bytes, a view of it, or None.

        Or NotImplemented, before anything was done, if it is anything else but one whole frame, or
        if the share is used up. Raises what the processor raises, and what its reply makes wrong.
        """
        nbytes = chunk.nbytes
        if not 0 < nbytes <= MOST_BYTES or self.calls_left <= 0:
            return NotImplemented
        grammar, answers = self._grammar, self._answers
        scan = grammar.scan(chunk, self._max_frame_bytes, 1)
        if scan.consumed_bytes != nbytes or scan.error is not None:
            return NotImplemented
        span = next(iter(grammar.spans(chunk, scan.runs)))
        if span[2] != nbytes:
            return NotImplemented
        self.calls_left -= 1
        pieces: Pieces = []
        if answers.takes_many:
            answers.work(chunk, scan.runs, pieces, 1, UNBOUNDED_BYTES)
        else:
            answers.work_one_by_one(chunk, (span,), pieces, 1, UNBOUNDED_BYTES)
        if answers.start_tls is not None:
            answers.start_tls = None
            raise undeclared_start()
        return pieces[0] if pieces else None
