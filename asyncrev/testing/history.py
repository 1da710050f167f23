"""Histories: verification of what a connection receives against what was sent on it.

Theory of operation. What is sent consists of records of 16 bytes, each of which identifies its
connection and its position (`streams`). A `History` computes what must come next and compares it
with what is received: the output must be the transform of a prefix of the input, in order, without
a foreign byte. Where they differ, the records in the received bytes show what happened:

  crossed    bytes of another connection
  doubled    bytes of this connection that were received before
  lost       bytes of this connection from further on; those between are missing
  reordered  the same, and the missing bytes came after them
  changed    bytes that belong to no stream, or were not sent yet
"""

import collections
from collections.abc import Callable

from asyncrev.errors import LocalError
from asyncrev.frames.grammar import Grammar
from asyncrev.frames.registry import FRAMINGS, as_framing
from asyncrev.testing.streams import ALPHABET, RECORD_BYTES, Stream, records_in

__all__ = ["FrameHistory", "History", "HistoryError", "Stream"]


# Any 31 bytes of a stream have a whole record in them; the rest is for prefixes of small frames.
_EVIDENCE_BYTES = 64
_CONTEXT_BYTES = RECORD_BYTES - 1
_SHOWN_BYTES = 48

Transform = Callable[[bytes], bytes | None]


class HistoryError(AssertionError):
    """What was received is not what was expected.

    Attributes:
        connection_id: the connection.
        offset: how many bytes were right before; with framing, prefixes and line ends included.
        expected, actual: the expected and the received bytes from there on, or their beginnings.
        fault: "crossed", "doubled", "lost", "reordered" or "changed" (see above).
    """

    def __init__(
        self, history: "History", fault: str, told: str, expected: bytes, actual: bytes
    ) -> None:
        """Take the position from `history`; `told` is the description."""
        self.connection_id = history.stream.connection_id
        self.offset = history.received_bytes
        self.expected = expected
        self.actual = actual
        self.fault = fault
        super().__init__(
            f"connection {self.connection_id}, offset {self.offset}: {fault}: {told}\n"
            f"  expected {_shown(expected)}\n  actual   {_shown(actual)}"
        )


def _same_bytes(one: bytes, other: bytes) -> int:
    """Return the length of the common prefix."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((off for off, (a, b) in pairs if a != b), min(len(one), len(other)))


def _shown(data: bytes) -> str:
    more = f" and more, {len(data)} bytes" if len(data) > _SHOWN_BYTES else ""
    return f"{data[:_SHOWN_BYTES]!r}{more}"


class History:
    """Verifies that a raw connection receives the transform of what was sent on it.

    Thread: one at a time; `take` and `received` may be called by different threads. Memory: a few
    dozen bytes, however much is sent.

    Attributes:
        stream: what is sent.
        sent_bytes: how many bytes of it were taken to be sent.
        received_bytes: how many right bytes were received.
    """

    def __init__(self, connection_id: int, transform: Transform = bytes) -> None:
        """Begin with nothing sent.

        `transform`: returns the reply that the server must give to bytes of input. It must work
        byte by byte, as `bytes.swapcase` does, because the input may be split anywhere. By default
        the reply is the input.

        Raises:
            LocalError: `connection_id` is out of range.
        """
        self.stream = Stream(connection_id)
        self.sent_bytes = 0
        self.received_bytes = 0
        self._transform = transform
        self._wrong = bytearray()  # what was received from the first wrong byte on
        self._context = b""  # the last right bytes before it

    @property
    def owed_bytes(self) -> int:
        """How many bytes of the stream were sent and not yet answered."""
        return self.sent_bytes - self.received_bytes

    @property
    def in_doubt(self) -> bool:
        """Whether wrong bytes came, but too few to identify them; see `received`."""
        return bool(self._wrong)

    def take(self, nbytes: int) -> bytes:
        """Return the next `nbytes` bytes of the stream, for sending."""
        data = self.stream.bytes_at(self.sent_bytes, nbytes)
        self.sent_bytes += nbytes
        return data

    def give_back(self, nbytes: int) -> None:
        """Take back the last `nbytes` bytes from `take`, which were not sent after all.

        Raises:
            LocalError: some of them were answered already.
        """
        if not 0 <= nbytes <= self.owed_bytes:
            raise LocalError(
                f"{nbytes} bytes were given back; from 0 to {self.owed_bytes} are not answered yet"
            )
        self.sent_bytes -= nbytes

    def received(self, data: bytes) -> None:
        """Verify received bytes, however they were split; `data` is not kept.

        A wrong byte is reported once 64 bytes from it on are there, which suffice to identify
        them, or else by `finish`. So call that when nothing more arrives.

        Raises:
            HistoryError: the bytes are not the expected ones.
        """
        if not self._wrong:
            right_bytes = self._verify(data)
            self._context = (self._context + data[:right_bytes])[-_CONTEXT_BYTES:]
            self._wrong += data[right_bytes:]
        else:
            self._wrong += data
        if len(self._wrong) >= _EVIDENCE_BYTES:
            raise self._error()

    def finish(self, *, complete: bool) -> None:
        """Check the end of what was received; with `complete`, all that was sent must be answered.

        Raises:
            HistoryError: wrong bytes were received, or some are missing.
        """
        if self._wrong:
            raise self._error()
        if complete and self._expected(1):
            start = self._expected_span()[0]
            told = f"bytes {start} to {self.sent_bytes} of the stream are missing; no more came"
            raise HistoryError(self, "lost", told, self._expected(_EVIDENCE_BYTES), b"")

    def _verify(self, data: bytes) -> int:
        """Accept the right bytes at the front of `data`; return how many they are."""
        off = 0
        while off < len(data):
            expected = self._expected(len(data) - off)
            actual = data[off : off + len(expected)]
            if actual != expected or not expected:
                same_bytes = _same_bytes(actual, expected)
                self._accept(same_bytes)
                return off + same_bytes
            self._accept(len(expected))
            off += len(expected)
        return off

    # -- what is expected; overridden by `FrameHistory` ------------------------------------------

    def _expected(self, nbytes: int) -> bytes:
        """Return the next expected bytes, at most `nbytes`; empty if none are expected."""
        nbytes = min(nbytes, self.owed_bytes)
        expected = self._transform(self.stream.bytes_at(self.received_bytes, nbytes))
        if expected is None or len(expected) != nbytes:
            raise LocalError(
                f"the transform answered {expected!r} to {nbytes} bytes; it must answer as many"
            )
        return expected

    def _accept(self, nbytes: int) -> None:
        """Count `nbytes` of the expected bytes as received."""
        self.received_bytes += nbytes

    def _expected_span(self) -> tuple[int, int]:
        """Return the range of the stream from which the next reply byte is made."""
        return self.received_bytes, self.received_bytes + 1

    def _located(self, position: int, connection_id: int, offset: int, wrong: bytes) -> int | None:
        """Return where the first wrong byte lies in a stream of which one record was found.

        `position`: where the record begins, counted from the first wrong byte; `offset`: where it
        lies in its stream. None if the byte is not of that stream.
        """
        offset -= position
        nbytes = min(len(wrong), RECORD_BYTES)
        if offset < 0:
            return None
        answer = self._transform(Stream(connection_id).bytes_at(offset, nbytes))
        return offset if answer == wrong[:nbytes] else None

    def _gap_end(self, offset: int) -> int:
        """Return the end of the missing bytes if those at `offset` were received."""
        return offset

    # -- what was received -----------------------------------------------------------------------

    def _error(self) -> HistoryError:
        wrong = bytes(self._wrong)
        fault, told = self._diagnosis(wrong)
        return HistoryError(self, fault, told, self._expected(max(len(wrong), 1)), wrong)

    def _diagnosis(self, wrong: bytes) -> tuple[str, str]:
        start, end = self._expected_span()
        own = self.stream.connection_id
        seen = self._records_in(self._context + wrong)
        for number, (position, connection_id, record_offset) in enumerate(seen, 1):
            offset = self._located(position, connection_id, record_offset, wrong)
            if offset is None:
                continue
            if connection_id != own:
                whose = f"these are bytes of connection {connection_id} at offset {offset}"
                return "crossed", whose
            if offset < start:
                return "doubled", f"repeated from offset {offset}, where {start} was expected"
            if offset < end:
                break
            missing = f"bytes {start} to {offset}"
            gap = range(start - RECORD_BYTES + 1, self._gap_end(offset))
            if any(c == own and o in gap for _, c, o in seen[number:]):
                return "reordered", f"{missing} came after later ones"
            return "lost", f"{missing} are missing, unless they come later"
        if not self._expected(1):
            return "changed", "nothing was expected: everything that was sent is answered"
        if seen:
            _, connection_id, offset = seen[0]
            then = f"followed by those of connection {connection_id} at offset {offset}"
            return "changed", f"bytes of no stream, {then}"
        return "changed", "bytes of no stream"

    def _records_in(self, actual: bytes) -> list[tuple[int, int, int]]:
        """Return position (from the first wrong byte), connection and offset of each record."""
        text = actual.translate(self._legible())
        return [(p - len(self._context), c, o) for p, c, o in records_in(text)]

    def _legible(self) -> bytes:
        """Return a table that inverts the transform of single bytes, as far as it is known."""
        table = bytearray(b"?" * 256)
        for plain in ALPHABET:
            shown = self._transform(bytes([plain]))
            if shown:  # the first byte, if it is longer
                table[shown[0]] = plain
        return bytes(table)


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
