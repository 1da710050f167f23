"""Verification of replies: every byte, however the network or the server splits them.

Theory of operation. `InOrder` knows the one stream of replies that is right: that of an echo, of
frames, or of a function. `Reversed` is for servers that reverse each chunk as they receive it: the
right reply is then any sequence of reversed segments of what was sent. It keeps every explanation
of the received bytes that is still possible: *boundaries*, up to which all bytes are explained,
and *segments*, whose end is assumed. What is sent is random, so a few bytes at the start of a
segment show where in the sent bytes it ends, and nearly always one explanation is left.
"""

from asyncrev.bench.messages import Cycle

__all__ = ["InOrder", "Mismatch", "Reversed", "verifier"]

_SHOWN_BYTES = 16
# So many bytes say where the segment that begins with them ends.
_KEY_BYTES = 12
# A server that reverses chunks of one byte looks like an echo; nobody means such a server.
_ECHO_BYTES = 16


class Mismatch(Exception):
    """A reply is not what it must be.

    Attributes:
        offset: how many bytes of the connection's replies were right before; of reversed segments,
            how many can be explained.
        expected, actual: the bytes from there on, or their beginnings; empty if there are none.
        why: what is known beside that, or "".
    """

    def __init__(self, offset: int, expected: bytes, actual: bytes, why: str = "") -> None:
        self.offset = offset
        self.expected = expected[:_SHOWN_BYTES]
        self.actual = actual[:_SHOWN_BYTES]
        self.why = why
        super().__init__(
            f"byte {offset} of the replies: expected {self.expected!r}, received {self.actual!r}"
            + (f" ({why})" if why else "")
        )


def verifier(cycle: Cycle, first: int) -> "InOrder | Reversed":
    """Return what verifies the replies to messages from number `first` of the cycle on."""
    return Reversed(cycle, first) if cycle.splits_anywhere else InOrder(cycle, first)


class InOrder:
    """Verifies a stream of which every byte is known.

    Attributes:
        next: the number in the cycle of the message whose reply is received now.
    """

    __slots__ = ("_off", "_offset", "_replies", "next")

    def __init__(self, cycle: Cycle, first: int) -> None:
        self._replies = cycle.replies
        self.next = first % len(cycle.replies)
        self._off = 0  # within the reply
        self._offset = 0  # of the connection

    @property
    def is_between(self) -> bool:
        """Whether no part of a reply has come that is not whole."""
        return not self._off

    def skip(self, messages: int) -> None:
        """Count the next replies, which the caller has compared; all are of one length."""
        self._offset += messages * len(self._replies[0])
        self.next = (self.next + messages) % len(self._replies)

    def feed(self, data: bytes, outstanding: int) -> int:
        """Verify `data`; return how many replies it completes.

        `outstanding`: how many messages were sent whose replies are not complete.

        Raises:
            Mismatch: it is not what must come.
        """
        done = at = 0
        while at < len(data):
            if done == outstanding:
                raise Mismatch(self._offset, b"", data[at:], "nothing was asked that it answers")
            reply = self._replies[self.next]
            part = data[at : at + len(reply) - self._off]
            if not reply.startswith(part, self._off):
                same = _same_bytes(part, reply[self._off :])
                expected = reply[self._off + same :]
                raise Mismatch(self._offset + same, expected, data[at + same :])
            at += len(part)
            self._off += len(part)
            self._offset += len(part)
            if self._off == len(reply):
                self._off = 0
                self.next = (self.next + 1) % len(self._replies)
                done += 1
        return done

    def finish(self) -> None:
        """Verify the end: all was verified when it came."""


class Reversed:
    """Verifies that what comes is made of reversed segments of what was sent, in order.

    Attributes:
        next: the number in the cycle of the message whose reply is received now.
    """

    __slots__ = (
        "_base",
        "_boundaries",
        "_cycle",
        "_first",
        "_held",
        "_received",
        "_segments",
        "_sent",
        "next",
    )

    def __init__(self, cycle: Cycle, first: int) -> None:
        self._cycle = cycle
        self._first = first
        self.next = first % len(cycle.requests)
        self._received = 0
        self._sent = 0  # what was known to be sent when the last bytes came
        self._base = 0  # where `_held` begins: what came from there on is still to be compared
        self._held = b""
        self._boundaries = {0: 0}  # each with what was sent when the first byte after it came
        self._segments: list[tuple[int, int, int]] = []  # start, end, verified up to

    @property
    def is_between(self) -> bool:
        """Whether all is explained, and no part of a reply has come that is not whole."""
        return self._is_settled and not self._received % self._cycle.request_bytes

    @property
    def _is_settled(self) -> bool:
        return not self._held and not self._segments

    def skip(self, messages: int) -> None:
        """Count the next replies, each of which the caller has compared with one segment."""
        self._received += messages * self._cycle.request_bytes
        self._settle(self._received)
        self._advance(messages)

    def feed(self, data: bytes, outstanding: int) -> int:
        """Verify `data`; see `InOrder.feed`.

        Raises:
            Mismatch: it has no explanation. That may be noticed a few bytes late.
        """
        size = self._cycle.request_bytes
        before = self._received // size
        self._sent = (before + outstanding) * size
        if self._received + len(data) > self._sent:
            right = self._sent - self._received
            raise Mismatch(self._sent, b"", data[right:], "nothing was asked that it answers")
        if self._is_settled:
            sent = self._sent_bytes(self._received, self._received + len(data))
            if data == sent[::-1]:
                self._received += len(data)
                self._settle(self._received)
                return self._advance(self._received // size - before)
            if len(data) >= _ECHO_BYTES and data == sent:
                raise Mismatch(self._received, sent[::-1], data, "the server echoes")
        self._held += data
        self._received += len(data)
        self._explain(final=False)
        return self._advance(self._received // size - before)

    def finish(self) -> None:
        """Verify the end, when all replies have come.

        Raises:
            Mismatch: the last bytes have no explanation.
        """
        self._explain(final=True)
        if self._received not in self._boundaries:
            raise self._mismatch(self._base)

    def _advance(self, messages: int) -> int:
        self.next = (self.next + messages) % len(self._cycle.requests)
        return messages

    def _settle(self, boundary: int) -> None:
        """Everything up to `boundary` is explained, and nothing came after it."""
        self._base = boundary
        self._held = b""
        self._boundaries = {boundary: 0}
        self._segments = []

    def _sent_bytes(self, start: int, end: int) -> bytes:
        """Return what was sent between two offsets of the connection's stream."""
        cycle = self._cycle
        size = cycle.request_bytes
        stream = cycle.stream
        off = (self._first * size + start) % (len(cycle.requests) * size)
        part = bytes(stream[off : off + end - start])
        if len(part) == end - start:
            return part
        parts = [part]
        left = end - start - len(part)
        off = (off + len(part)) % (len(cycle.requests) * size)
        while left:
            part = bytes(stream[off : off + left])
            parts.append(part)
            left -= len(part)
            off = (off + len(part)) % (len(cycle.requests) * size)
        return b"".join(parts)

    def _explain(self, *, final: bool) -> None:
        """Follow every explanation to the end of what came; forget those that fail."""
        boundaries = self._boundaries
        waiting: dict[int, int] = {}
        open_segments: list[tuple[int, int, int]] = []
        reached = self._base
        for segment in self._segments:
            self._follow(segment, boundaries, open_segments)
        while boundaries:
            start = min(boundaries)
            reached = max(reached, start)
            sent = boundaries.pop(start)
            came = self._received - start
            if not came:
                waiting[start] = 0
                continue
            sent = sent or self._sent
            if came < _KEY_BYTES and not final:
                waiting[start] = sent
                continue
            for segment in self._starting_at(start, sent):
                self._follow(segment, boundaries, open_segments)
        if not waiting and not open_segments:
            raise self._mismatch(reached)
        self._boundaries, self._segments = waiting, open_segments
        first = min([*waiting, *(verified for _, _, verified in open_segments)])
        self._held = self._held[first - self._base :]
        self._base = first

    def _starting_at(self, start: int, sent: int) -> list[tuple[int, int, int]]:
        """Return the segments that what came from `start` on may be, verified in part."""
        came = self._held[start - self._base :]
        text = self._sent_bytes(start, sent)
        key_bytes = min(_KEY_BYTES, len(came), len(text))
        found = [
            (start, start + nbytes, start + nbytes)
            for nbytes in range(1, key_bytes)
            if came[:nbytes] == text[:nbytes][::-1]
        ]
        key = came[:key_bytes][::-1]
        at = text.find(key)
        while at >= 0:
            found.append((start, start + at + key_bytes, start + key_bytes))
            at = text.find(key, at + 1)
        return found

    def _follow(
        self,
        segment: tuple[int, int, int],
        boundaries: dict[int, int],
        open_segments: list[tuple[int, int, int]],
    ) -> None:
        """Compare what came of a segment; note where it ends, or that it goes on."""
        start, end, verified = segment
        until = min(end, self._received)
        came = self._held[verified - self._base : until - self._base]
        # The byte at offset n of the replies is the one before start + end - n of those sent.
        if came != self._sent_bytes(start + end - until, start + end - verified)[::-1]:
            return
        if until == end:
            boundaries.setdefault(end, 0)
        else:
            open_segments.append((start, end, until))

    def _mismatch(self, reached: int) -> Mismatch:
        actual = self._held[reached - self._base :]
        sent = self._sent_bytes(reached, min(self._sent, reached + len(actual)))
        return Mismatch(reached, sent[::-1], actual, "in no way reversed parts of what was sent")


def _same_bytes(one: bytes, other: bytes) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
