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

from collections.abc import Callable

from asyncrev.errors import LocalError
from asyncrev.testing.streams import ALPHABET, RECORD_BYTES, Stream, records_in

__all__ = ["History", "HistoryError", "Transform"]


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
        self, history: "History", fault: str, description: str, expected: bytes, actual: bytes
    ) -> None:
        """Take the position from `history`; `description` says what happened."""
        self.connection_id = history.stream.connection_id
        self.offset = history.received_bytes
        self.expected = expected
        self.actual = actual
        self.fault = fault
        super().__init__(
            f"connection {self.connection_id}, offset {self.offset}: {fault}: {description}\n"
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
            description = f"bytes {start} to {self.sent_bytes} of the stream are missing"
            raise HistoryError(self, "lost", description, self._expected(_EVIDENCE_BYTES), b"")

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
        fault, description = self._diagnosis(wrong)
        return HistoryError(self, fault, description, self._expected(max(len(wrong), 1)), wrong)

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
