"""What --expect of `asyncrev send` verifies, while input is sent and replies arrive.

Each object belongs to one connection and has one thread. What is sent is noted before it is sent,
so a reply can only be made of what was noted.
"""

import abc
from collections.abc import Iterator

from asyncrev.command.send_frames import FrameReader
from asyncrev.errors import LocalError, RemoteError
from asyncrev.frames.grammar import Grammar

__all__ = [
    "MOST_UNANSWERED_BYTES",
    "Echo",
    "Expectation",
    "Given",
    "ReplyDiffers",
    "ReversedChunks",
    "ReversedFrames",
]

# Sending waits while more than this is unanswered, because it is held for the comparison.
MOST_UNANSWERED_BYTES = 8 * 2**20

# A chunk that may end at some byte is looked for by so many bytes of its reply.
_LOOK_BYTES = 32


class ReplyDiffers(LocalError):
    """The reply is not what --expect asks for; the message has the offset and both bytes."""


class Expectation(abc.ABC):
    """What the reply must be.

    Attributes:
        verified_bytes: how much of the reply is right so far.
    """

    verified_bytes = 0

    @property
    def unanswered_bytes(self) -> int:
        """How much is held for the comparison; sending waits at `MOST_UNANSWERED_BYTES`."""
        return 0

    def note_sent(self, wire: bytes) -> None:  # noqa: B027
        """Note what is about to be sent."""

    def note_end(self) -> None:  # noqa: B027
        """Note that nothing more will be sent."""

    @abc.abstractmethod
    def receive(self, wire: bytes) -> None:
        """Compare the next bytes of the reply.

        Raises:
            ReplyDiffers: they cannot be right, whatever follows.
        """

    @abc.abstractmethod
    def is_complete(self) -> bool:
        """Return whether all that is expected so far has been received."""

    @abc.abstractmethod
    def end(self) -> None:
        """Compare the end of the reply.

        Raises:
            ReplyDiffers: more is expected.
        """


class _Stream(Expectation):
    """The reply must be a stream of bytes, of which `_pull` returns the next."""

    def __init__(self) -> None:
        self._expected = bytearray()

    def receive(self, wire: bytes) -> None:
        """Compare the next bytes; see `Expectation.receive`."""
        off = 0
        while off < len(wire):
            if not self._expected:
                self._expected += self._pull()
                if not self._expected:
                    raise ReplyDiffers(_differs(self.verified_bytes, None, wire[off]))
            nbytes = min(len(self._expected), len(wire) - off)
            actual, expected = wire[off : off + nbytes], bytes(self._expected[:nbytes])
            if actual != expected:
                same_bytes = next(i for i in range(nbytes) if actual[i] != expected[i])
                self.verified_bytes += same_bytes
                where = _differs(self.verified_bytes, expected[same_bytes], actual[same_bytes])
                raise ReplyDiffers(where)
            del self._expected[:nbytes]
            self.verified_bytes += nbytes
            off += nbytes

    def is_complete(self) -> bool:
        """See `Expectation.is_complete`."""
        if not self._expected:
            self._expected += self._pull()
        return not self._expected

    def end(self) -> None:
        """See `Expectation.end`."""
        if not self.is_complete():
            raise ReplyDiffers(_differs(self.verified_bytes, self._expected[0], None))

    def _pull(self) -> bytes:
        """Return more of what is expected; empty if there is no more yet."""
        return b""


class Echo(_Stream):
    """The reply must be what was sent."""

    @property
    def unanswered_bytes(self) -> int:
        """See `Expectation.unanswered_bytes`."""
        return len(self._expected)

    def note_sent(self, wire: bytes) -> None:
        """See `Expectation.note_sent`."""
        self._expected += wire


class Given(_Stream):
    """The reply must be the pieces of an iterator, which are taken as they are needed."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces

    def _pull(self) -> bytes:
        return next((piece for piece in self._pieces if piece), b"")


class ReversedFrames(_Stream):
    """The reply to each frame must be its payload in reverse, in a frame with the same tail."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__()
        self._grammar = grammar
        self._frames = FrameReader(grammar)

    @property
    def unanswered_bytes(self) -> int:
        """See `Expectation.unanswered_bytes`."""
        return len(self._expected)

    def note_sent(self, wire: bytes) -> None:
        """Note frames; see `Expectation.note_sent`.

        Raises:
            LocalError: a frame is too long.
        """
        try:
            for frame in self._frames.feed(wire):
                self._grammar.encode_into(self._expected, frame.payload[::-1], frame.tail)
        except RemoteError as error:
            raise LocalError(f"the input cannot be verified: {error}") from None

    def note_end(self) -> None:
        """See `Expectation.note_end`."""
        self._expected += (self._frames.open_payload() or b"")[::-1]


class ReversedChunks(Expectation):
    """The reply must be what was sent, split somewhere into chunks, each in reverse.

    The shortest chunk that fits is taken at each place. That loses nothing: if a longer chunk fits
    there, too, the shorter one is at both of its ends, and what is between them fits in reverse.
    Cost: about linear, but for a reply that imitates periodic input and is wrong late.
    """

    def __init__(self) -> None:
        self._sent = bytearray()  # from the end of the last chunk on
        self._reply = bytearray()  # no chunk of which is complete
        self._tried_bytes = 0  # no chunk ends before

    @property
    def unanswered_bytes(self) -> int:
        """See `Expectation.unanswered_bytes`."""
        return len(self._sent)

    def note_sent(self, wire: bytes) -> None:
        """See `Expectation.note_sent`."""
        self._sent += wire

    def receive(self, wire: bytes) -> None:
        """Compare the next bytes; see `Expectation.receive`."""
        self._reply += wire
        sent, reply = bytes(self._sent), bytes(self._reply)
        start = 0
        while start < len(reply):
            start = self._skip_equal(sent, reply, start)
            length = self._chunk_bytes(sent, reply, start)
            if not length:
                break
            start += length
            self._tried_bytes = 0
        self.verified_bytes += start
        del self._sent[:start]
        del self._reply[:start]
        if self._reply and bytes(self._reply[::-1]) not in self._sent:
            raise ReplyDiffers(self._first_difference())

    def _skip_equal(self, sent: bytes, reply: bytes, start: int) -> int:
        """Return the end of the chunks of one byte; there the input equals the reply."""
        most = min(len(sent), len(reply))
        step = 1
        while start < most:
            end = min(start + step, most)
            if sent[start:end] == reply[start:end]:
                start, step = end, step * 2
                self._tried_bytes = 0
            elif step == 1:
                break
            else:
                step = max(1, step // 4)
        return start

    def _chunk_bytes(self, sent: bytes, reply: bytes, start: int) -> int:
        """Return the length of the shortest chunk that begins at `start`, or 0 if none is whole."""
        whole_bytes = min(len(sent), len(reply)) - start
        for nbytes in range(self._tried_bytes + 1, min(_LOOK_BYTES, whole_bytes) + 1):
            if reply[start : start + nbytes] == sent[start : start + nbytes][::-1]:
                return nbytes
        self._tried_bytes = max(self._tried_bytes, min(_LOOK_BYTES, whole_bytes))
        last_bytes = reply[start : start + _LOOK_BYTES][::-1]
        look_off = start + self._tried_bytes + 1 - _LOOK_BYTES
        while whole_bytes > _LOOK_BYTES:
            look_off = sent.find(last_bytes, max(look_off, start), start + whole_bytes)
            if look_off < 0:
                break
            nbytes = look_off + _LOOK_BYTES - start
            if reply[start : start + nbytes] == sent[start : start + nbytes][::-1]:
                return nbytes
            look_off += 1
        self._tried_bytes = max(self._tried_bytes, whole_bytes)
        return 0

    def _first_difference(self) -> str:
        """Return where the longest beginning of a chunk's reply ends, and both bytes there."""
        sent, reply = bytes(self._sent), bytes(self._reply)
        good, bad = 0, len(reply)  # lengths that some chunk can, and cannot, explain
        while bad - good > 1:
            middle = (good + bad) // 2
            if reply[:middle][::-1] in sent:
                good = middle
            else:
                bad = middle
        if not good:
            return _differs(self.verified_bytes, sent[0] if sent else None, reply[0])
        off = sent.find(reply[:good][::-1])  # not 0, or it would be a whole chunk
        return _differs(self.verified_bytes + good, sent[off - 1], reply[good])

    def is_complete(self) -> bool:
        """See `Expectation.is_complete`."""
        return not self._sent

    def end(self) -> None:
        """See `Expectation.end`."""
        if self._sent:
            # Of the chunk that was begun, the reply lacks what was sent before these bytes.
            off = self._sent.find(self._reply[::-1]) if self._reply else 1
            where = self.verified_bytes + len(self._reply)
            raise ReplyDiffers(_differs(where, self._sent[off - 1], None))


def _differs(off: int, expected: int | None, actual: int | None) -> str:
    return (
        f"the reply differs at offset {off}: {_byte(expected, 'the end')} is expected, "
        f"{_byte(actual, 'the end')} came"
    )


def _byte(value: int | None, without: str) -> str:
    if value is None:
        return without
    shown = f" ({chr(value)!r})" if 32 <= value < 127 else ""
    return f"byte 0x{value:02x}{shown}"
