"""Frames as requests: where a framer would have a frame answered, it is copied and handed on."""

from collections.abc import Sequence
from typing import Any

from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import LocalError
from asyncrev.frames.grammar import Grammar, Run
from asyncrev.work.frame_answers import FrameAnswers, Pieces
from asyncrev.work.requests import Request, RequestKind, Requests

__all__ = ["Collector", "FrameRequests"]


class Collector:
    """Stands on the worker for a processor that is called elsewhere. Thread: worker.

    Attributes:
        requests: what it makes them in.
        calls_connected, calls_eof: whether the processor has these methods.
    """

    __slots__ = ("calls_connected", "calls_eof", "requests")

    def __init__(self, requests: Requests, *, calls_connected: bool, calls_eof: bool) -> None:
        """Hand what is to be called to `requests`."""
        self.requests = requests
        self.calls_connected = calls_connected
        self.calls_eof = calls_eof

    def connected(self, info: ConnectionInfo) -> None:
        """Have the processor told of its peer, before anything else; it reads who from the lane."""
        if self.calls_connected:
            self.requests.make(Request(RequestKind.CONNECTED))

    def process(self, chunk: memoryview) -> None:
        """Have a raw chunk processed; a copy of it is handed on."""
        self.requests.make(Request(RequestKind.FRAME, bytes(chunk), b"", chunk.nbytes))

    def eof(self) -> None:
        """Have the processor say its last word."""
        if self.calls_eof:
            self.requests.make(Request(RequestKind.EOF))


class FrameRequests(FrameAnswers):
    """Hands whole frames on one by one. Thread: worker."""

    __slots__ = ("_requests",)

    def __init__(
        self, grammar: Grammar, processor: Any, requests: Requests, *, max_frame_bytes: int
    ) -> None:
        """Make requests in `requests`. `processor`: a `Collector`, or taps around one."""
        super().__init__(grammar, processor, max_frame_bytes=max_frame_bytes, max_reply_bytes=0)
        self._requests = requests

    def work(
        self,
        frames: memoryview,
        runs: Sequence[Run],
        pieces: Pieces,
        most_calls: int,
        most_reply_bytes: int,
    ) -> int:
        """Hand on at most `most_calls` frames; return how many bytes these are."""
        if self._see_frames is not None:
            self._see_frames(frames, runs)
        requests = self._requests
        calls = done_off = 0
        for start_off, end_off, next_off in self._grammar.spans(frames, runs):
            payload, tail = bytes(frames[start_off:end_off]), bytes(frames[end_off:next_off])
            requests.make(Request(RequestKind.FRAME, payload, tail, next_off - done_off))
            done_off = next_off
            calls += 1
            if calls >= most_calls:
                break
        self.calls += calls
        self.frames += calls
        self.answered_bytes += done_off
        return done_off

    def answer_open(self, held: memoryview, storage: object) -> tuple[None, bytes]:
        """Hand on the last frame, which has no end of its own.

        Raises:
            RemoteError: the frame may not end here.
        """
        open_end = self._grammar.end_open(held, self._max_frame_bytes)
        payload = bytes(held[open_end.start_off : open_end.end_off])
        self._requests.make(
            Request(RequestKind.FRAME, payload, b"", held.nbytes, open_end.separator)
        )
        self.answered_bytes += held.nbytes
        self.frames += 1
        return None, b""

    def last_word(self, before_bytes: int = 0) -> bytes:
        """Have the processor say its last word, later."""
        self._processor.eof()
        return b""

    def framed(self, said: object, before_bytes: int = 0) -> bytes:
        """Refuse: nothing is said here."""
        raise LocalError("a reply that comes later is framed where it is given out")
