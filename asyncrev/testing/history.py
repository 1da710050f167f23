"""Histories: what came back on a connection, held against what was sent on it.

Theory of operation: what is sent is made of records of 16 bytes, each of which says whose it is and
where it belongs (`streams`), so the bytes alone tell. A `History` knows what must come next and
compares what is received with it: the output must be the transform of a prefix of the input, in
order, without a foreign byte. What differs is read for records, and these tell what happened:

  crossed    bytes of another connection
  doubled    bytes of this one that had come already
  lost       bytes of this one from further on; those between are missing
  reordered  the same, and what was missing came behind them
  changed    bytes that are nobody's, or nobody's yet
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
    """What came back is not what had to come.

    Attributes:
        connection_id: on which connection.
        offset: bytes that were right before; of replies, hence with their prefixes.
        expected, actual: the bytes from there on that had to come, and that came; or their
            beginnings.
        fault: "crossed", "doubled", "lost", "reordered" or "changed" (see above).
    """

    def __init__(
        self, history: "History", fault: str, told: str, expected: bytes, actual: bytes
    ) -> None:
        """Take the position from `history`; `told` says in words what happened."""
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
    """Return how many bytes at the beginning of both are equal."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((off for off, (a, b) in pairs if a != b), min(len(one), len(other)))


def _shown(data: bytes) -> str:
    more = f" and more, {len(data)} bytes" if len(data) > _SHOWN_BYTES else ""
    return f"{data[:_SHOWN_BYTES]!r}{more}"


class History:
    """One raw connection: what was sent, and whether what is received is its transform.

    Thread: one at a time; `take` may be called by another one than `received`. Memory: a few
    dozen bytes, however much is sent.

    Attributes:
        stream: what is sent.
        sent_bytes: how much of it was taken to be sent.
        received_bytes: how much has come back and was right.
    """

    def __init__(self, connection_id: int, transform: Transform = bytes) -> None:
        """Begin with nothing sent.

        `transform`: what the server must answer to bytes of input, wherever they are split: a
        function of single bytes, such as `bytes.swapcase`. By default the same bytes.

        Raises:
            LocalError: `connection_id` is out of range.
        """
        self.stream = Stream(connection_id)
        self.sent_bytes = 0
        self.received_bytes = 0
        self._transform = transform
        self._wrong = bytearray()  # what came from the first wrong byte on
        self._context = b""  # the last that was right before it

    @property
    def owed_bytes(self) -> int:
        """How much of what was sent has not come back yet, in bytes of the stream."""
        return self.sent_bytes - self.received_bytes

    @property
    def in_doubt(self) -> bool:
        """Whether something wrong came, and yet too little of it to tell what; see `received`."""
        return bool(self._wrong)

    def take(self, nbytes: int) -> bytes:
        """Return the next `nbytes` of the stream, which are now to be sent."""
        data = self.stream.bytes_at(self.sent_bytes, nbytes)
        self.sent_bytes += nbytes
        return data

    def give_back(self, nbytes: int) -> None:
        """Take back the last `nbytes` that were taken, because they were not sent after all.

        Raises:
            LocalError: so many bytes cannot be unsent; some of them were answered.
        """
        if not 0 <= nbytes <= self.owed_bytes:
            raise LocalError(
                f"{nbytes} bytes were given back; from 0 to {self.owed_bytes} are not answered yet"
            )
        self.sent_bytes -= nbytes

    def received(self, data: bytes) -> None:
        """Verify what came next, however it was split; `data` is not kept.

        A wrong byte is told as soon as 64 bytes from it on are there, which it takes to tell whose
        they are; at the latest by `finish`. So call that when you wait in vain.

        Raises:
            HistoryError: it is not what had to come.
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
        """Say that no more will come. `complete`: everything sent must have been answered.

        Raises:
            HistoryError: something wrong had come, or something is missing.
        """
        if self._wrong:
            raise self._error()
        if complete and self._expected(1):
            start = self._expected_span()[0]
            told = f"bytes {start} to {self.sent_bytes} of the stream are missing; no more came"
            raise HistoryError(self, "lost", told, self._expected(_EVIDENCE_BYTES), b"")

    def _verify(self, data: bytes) -> int:
        """Note the right bytes at the front of `data`; return how many they are."""
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

    # -- what must come; `FrameHistory` has its own ----------------------------------------------

    def _expected(self, nbytes: int) -> bytes:
        """Return the beginning of what must come next, `nbytes` at most; empty: nothing must."""
        nbytes = min(nbytes, self.owed_bytes)
        expected = self._transform(self.stream.bytes_at(self.received_bytes, nbytes))
        if expected is None or len(expected) != nbytes:
            raise LocalError(
                f"the transform answered {expected!r} to {nbytes} bytes; it must answer as many"
            )
        return expected

    def _accept(self, nbytes: int) -> None:
        """Note that `nbytes` of what was expected have come."""
        self.received_bytes += nbytes

    def _expected_span(self) -> tuple[int, int]:
        """Return where in the stream the bytes lie of which the next reply byte is made."""
        return self.received_bytes, self.received_bytes + 1

    def _located(self, position: int, connection_id: int, offset: int, wrong: bytes) -> int | None:
        """Return where in a stream the first wrong byte lies, by a record of that stream.

        `position`: of the record, from the first wrong byte on; `offset`: in its stream. None: the
        byte is not of that stream.
        """
        offset -= position
        nbytes = min(len(wrong), RECORD_BYTES)
        if offset < 0:
            return None
        answer = self._transform(Stream(connection_id).bytes_at(offset, nbytes))
        return offset if answer == wrong[:nbytes] else None

    def _gap_end(self, offset: int) -> int:
        """Return up to where bytes must be missing, if those at `offset` came."""
        return offset

    # -- what came instead -----------------------------------------------------------------------

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
                return "doubled", f"repeated from offset {offset}, where {start} had to come"
            if offset < end:
                break
            missing = f"bytes {start} to {offset}"
            gap = range(start - RECORD_BYTES + 1, self._gap_end(offset))
            if any(c == own and o in gap for _, c, o in seen[number:]):
                return "reordered", f"{missing} came behind later ones"
            return "lost", f"{missing} are missing, unless they come later"
        if not self._expected(1):
            return "changed", "nothing had to come, for everything that was sent is answered"
        if seen:
            _, connection_id, offset = seen[0]
            then = f"then come those of connection {connection_id} at offset {offset}"
            return "changed", f"bytes of nobody; {then}"
        return "changed", "bytes of nobody"

    def _records_in(self, actual: bytes) -> list[tuple[int, int, int]]:
        """Return position, connection and offset of each record; the first wrong byte is at 0."""
        text = actual.translate(self._legible())
        return [(p - len(self._context), c, o) for p, c, o in records_in(text)]

    def _legible(self) -> bytes:
        """Return the table that makes records of their transform, as far as that can be known."""
        table = bytearray(b"?" * 256)
        for plain in ALPHABET:
            shown = self._transform(bytes([plain]))
            if shown:  # its first byte, should it be longer
                table[shown[0]] = plain
        return bytes(table)


class FrameHistory(History):
    """One framed connection: each frame's payload must be answered by its transform, in order.

    A payload is the stream's next bytes, from a record's beginning on, so one of 16 bytes or more
    tells whose it is; shorter ones are verified, but their like may be taken for "changed". Memory:
    a number for each frame that is not answered yet, and the oldest one's reply.

    Attributes:
        sent_bytes: stream taken so far, with what is left out between payloads.
        received_bytes: bytes of right replies, with their prefixes or line ends.
        answered_frames: how many frames were answered in full.
    """

    def __init__(self, connection_id: int, transform: Transform, framing: str | Grammar) -> None:
        """Begin with nothing sent.

        `transform`: from a payload to that of its reply, which may have any length; None for no
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
        """How much of the stream, from the oldest frame not answered on, was taken."""
        return self.sent_bytes - self._frames[0][0] if self._frames else 0

    @property
    def owed_frames(self) -> int:
        """How many frames are not answered yet."""
        return len(self._frames)

    def take(self, nbytes: int) -> bytes:
        """Return the next frame, with a payload of `nbytes`, which is now to be sent."""
        offset = self.sent_bytes
        data = self.stream.bytes_at(offset, nbytes)
        self.sent_bytes += -(-nbytes // RECORD_BYTES) * RECORD_BYTES
        self._frames.append((offset, nbytes))
        return self._grammar.encode(data)

    def give_back(self, nbytes: int) -> None:
        """Refuse: a frame that was begun has to be sent whole, or the connection ends.

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
        """Return the record's own offset, because where in a reply it lies cannot be known."""
        rest_bytes = len(self._expected(len(wrong)))
        in_payload = self._reply_off >= self._payload_off()
        if rest_bytes and in_payload and position >= rest_bytes:
            return None  # the frame is as long as the one that had to come, and does not have it
        return offset

    def _payload_off(self) -> int:
        """Return where in the oldest frame's reply its payload begins."""
        reply = memoryview(self._reply or b"")
        runs = self._grammar.scan(reply, len(reply)).runs
        return next((start for start, _, _ in self._grammar.spans(reply, runs)), 0)

    def _gap_end(self, offset: int) -> int:
        """Return the end of the oldest frame: of a later one, any record may have come first."""
        return self._expected_span()[1]

    def _records_in(self, actual: bytes) -> list[tuple[int, int, int]]:
        """Look at the bytes in reverse order, too."""
        last = len(actual) - len(self._context) - RECORD_BYTES
        back = [
            (last - len(self._context) - p, c, o) for p, c, o in super()._records_in(actual[::-1])
        ]
        return sorted(super()._records_in(actual) + back)
