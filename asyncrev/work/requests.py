"""Requests: calls of a processor whose replies come later, between the worker and the loop.

The worker finds them in a lane's input. The loop has them answered, by a coroutine or an executor,
and hands them back in the order in which they were found; the worker frames and encrypts the
replies. A request is one object on this way, and belongs to the thread that has it: each of the two
queues hands it on.

  I27  at most `pending_per_connection` requests of a lane, and two more at its end, are made and
       not given out; replies are given out in the order of the requests
"""

import collections
import enum

__all__ = ["Request", "RequestKind", "Requests"]


class RequestKind(enum.Enum):
    """Which method of a processor a request calls."""

    CONNECTED = "connected"
    FRAME = "process"
    EOF = "eof"


class Request:
    """One call of a processor. Its thread is that of the queue that it was last taken from.

    Attributes:
        kind: which method is called.
        payload: the bytes of a frame or chunk; an own copy.
        tail: what follows the payload in the input, such as the end of a line.
        separator: of a last frame without its end: what goes between its reply and another one;
            else None.
        nbytes: how many bytes of input it stands for.
        reply: what the processor has returned, as bytes; or None. Like `error`, set before it is
            handed back.
        error: what it has raised, or why there is no reply.
        made_s: when the loop saw it, in the loop's time. This and the next one: the loop's alone.
        is_settled: whether `reply` or `error` is final.
    """

    __slots__ = (
        "error",
        "is_settled",
        "kind",
        "made_s",
        "nbytes",
        "payload",
        "reply",
        "separator",
        "tail",
    )

    def __init__(
        self,
        kind: RequestKind,
        payload: bytes = b"",
        tail: bytes = b"",
        nbytes: int = 0,
        separator: bytes | None = None,
    ) -> None:
        self.kind = kind
        self.payload = payload
        self.tail = tail
        self.separator = separator
        self.nbytes = nbytes
        self.reply: bytes | None = None
        self.error: BaseException | None = None
        self.made_s = 0.0
        self.is_settled = False

    @property
    def held_bytes(self) -> int:
        """How much its input and its reply, if there is one, count."""
        return self.nbytes + (0 if self.reply is None else len(self.reply))


class Requests:
    """The two queues of one lane, and what is counted of them.

    The queues are deques, whose `append` and `popleft` are atomic
    (https://docs.python.org/3/library/collections.html#collections.deque). What one thread appends
    it appends before it hands an entry of the lane on; the other looks when it gets one.

    Attributes:
        made: found by the worker, not seen by the loop. Worker appends, loop takes.
        returned: with reply or error, not given out. Loop appends, worker takes.
        made_count, made_bytes: so far. This and the next two: writer: worker; readers: worker, and
            the loop while no entry of the lane is in the ring.
        given_count, given_bytes: of those, whose replies were given out.
    """

    __slots__ = (
        "_most",
        "_most_bytes",
        "given_bytes",
        "given_count",
        "made",
        "made_bytes",
        "made_count",
        "returned",
    )

    def __init__(self, most: int, most_bytes: int) -> None:
        """Start empty. `most`, `most_bytes`: no more is made once so much is pending."""
        self._most = most
        self._most_bytes = most_bytes
        self.made: collections.deque[Request] = collections.deque()
        self.returned: collections.deque[Request] = collections.deque()
        self.made_count = self.made_bytes = 0
        self.given_count = self.given_bytes = 0

    @property
    def pending(self) -> int:
        """How many are made and not given out. Thread: as the counts."""
        return self.made_count - self.given_count

    @property
    def pending_bytes(self) -> int:
        """How many bytes of input these stand for. Thread: as the counts."""
        return self.made_bytes - self.given_bytes

    def room(self) -> int:
        """Return how many more may be made (I27). Thread: as the counts."""
        if self.made_bytes - self.given_bytes >= self._most_bytes:
            return 0
        return max(0, self._most - self.made_count + self.given_count)

    def make(self, request: Request) -> None:
        """Hand `request` to the loop, with the entry that the worker has. Thread: worker."""
        self.made_count += 1
        self.made_bytes += request.nbytes
        self.made.append(request)

    def next_returned(self) -> Request | None:
        """Take the next one whose reply is to be given out, if it is here. Thread: worker."""
        if not self.returned:
            return None
        request = self.returned.popleft()
        self.given_count += 1
        self.given_bytes += request.nbytes
        return request
