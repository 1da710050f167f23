"""Histories of framed connections; see `history` for how they work."""

import collections

from asyncrev.errors import LocalError
from asyncrev.frames.grammar import Grammar
from asyncrev.frames.registry import FRAMINGS, as_framing
from asyncrev.testing.history import History, Transform
from asyncrev.testing.streams import RECORD_BYTES

__all__ = ["FrameHistory"]


class FrameHistory(History):
    """Verifies that each frame on a connection is answered by the transform of its payload.

    A payload is the stream's next bytes, from the beginning of a record, so one of 16 bytes or more
    identifies itself. Shorter ones are verified too, but a wrong one may be reported as "changed".
    Memory: a pair of numbers for each unanswered frame, and the reply to the oldest one.

    Attributes:
        sent_bytes: how many bytes of the stream were taken, with the gaps between payloads.
        received_bytes: bytes of right replies, prefixes and line ends included.
        answered_frames: how many frames were answered in full.
    """

    def __init__(self, connection_id: int, transform: Transform, framing: str | Grammar) -> None:
        """Begin with nothing sent.

        `transform`: returns the payload of the reply to a payload, of any length, or None for no
        reply. `framing`: "line", "len32", "len64" or a `Grammar`.

        Raises:
            LocalError: `connection_id` is out of range, or there is no such framing.
        """
        super().__init__(connection_id, transform)
        grammar = as_framing(framing)
        if grammar is None:
            raise LocalError(f"framing is {framing!r}; it must be one of {', '.join(FRAMINGS)}")
        self.answered_frames = 0
        self._grammar = grammar
        self._frames: collections.deque[tuple[int, int]] = collections.deque()  # offset, length
        self._reply: bytes | None = None  # to the oldest frame
        self._reply_off = 0

    @property
    def owed_bytes(self) -> int:
        """How many bytes of the stream were taken from the oldest unanswered frame on."""
        return self.sent_bytes - self._frames[0][0] if self._frames else 0

    @property
    def owed_frames(self) -> int:
        """How many frames are unanswered."""
        return len(self._frames)

    def take(self, nbytes: int) -> bytes:
        """Return the next frame, with a payload of `nbytes` bytes, for sending."""
        offset = self.sent_bytes
        data = self.stream.bytes_at(offset, nbytes)
        self.sent_bytes += -(-nbytes // RECORD_BYTES) * RECORD_BYTES
        self._frames.append((offset, nbytes))
        return self._grammar.encode(data)

    def give_back(self, nbytes: int) -> None:
        """Raise LocalError: a frame must be sent whole, or the connection must end.

        Raises:
            LocalError: always.
        """
        raise LocalError(f"{nbytes} bytes of a frame were given back; send the rest of it instead")

    def _expected(self, nbytes: int) -> bytes:
        while self._reply is None and self._frames:
            payload = self._transform(self.stream.bytes_at(*self._frames[0]))
            if payload is None:
                self._frames.popleft()
                self.answered_frames += 1
            else:
                self._reply = self._grammar.encode(payload)
        return (self._reply or b"")[self._reply_off : self._reply_off + nbytes]

    def _accept(self, nbytes: int) -> None:
        super()._accept(nbytes)
        self._reply_off += nbytes
        if self._reply is not None and self._reply_off == len(self._reply):
            self._frames.popleft()
            self.answered_frames += 1
            self._reply = None
            self._reply_off = 0

    def _expected_span(self) -> tuple[int, int]:
        if not self._frames:
            return self.sent_bytes, self.sent_bytes
        offset, nbytes = self._frames[0]
        return offset, offset + max(nbytes, 1)

    def _located(self, position: int, connection_id: int, offset: int, wrong: bytes) -> int | None:
        """Return the record's own offset, because its position in a reply cannot be known."""
        rest_bytes = len(self._expected(len(wrong)))
        in_payload = self._reply_off >= self._payload_off()
        if rest_bytes and in_payload and position >= rest_bytes:
            return None  # the record lies behind the expected reply
        return offset

    def _payload_off(self) -> int:
        """Return where the payload begins in the reply to the oldest frame."""
        reply = memoryview(self._reply or b"")
        runs = self._grammar.scan(reply, len(reply)).runs
        return next((start for start, _, _ in self._grammar.spans(reply, runs)), 0)

    def _gap_end(self, offset: int) -> int:
        """Return the end of the oldest frame: any record of a later one may have come first."""
        return self._expected_span()[1]

    def _records_in(self, actual: bytes) -> list[tuple[int, int, int]]:
        """Search the bytes in reverse order, too."""
        last = len(actual) - len(self._context) - RECORD_BYTES
        back = [
            (last - len(self._context) - p, c, o) for p, c, o in super()._records_in(actual[::-1])
        ]
        return sorted(super()._records_in(actual) + back)
